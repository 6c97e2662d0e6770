"""Installs peers from the registries of their languages into a cache folder outside the repository.

Needs no privileges and changes nothing outside that folder and cargo's build folders. A stamp is written last, so
that an interrupted installation is repeated. Sources are copied or compiled at every run.
"""

import contextlib
import fcntl
import glob
import hashlib
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "ringway", "peers")
# Debian's -dev packages install Go sources here.
GO_PACKAGES = "/usr/share/gocode"


class Unavailable(Exception):
    """A peer cannot be installed. The message has the reason and, where known, the remedy."""


class Failed(Exception):
    """No run is possible."""


def say(*words):
    print("peers:", *words, file=sys.stderr, flush=True)


@contextlib.contextmanager
def exclusively():
    """Serialises installations of concurrent runs."""
    os.makedirs(CACHE, exist_ok=True)
    with open(os.path.join(CACHE, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def command(*words, **options):
    """Runs a command with its output on stderr."""
    try:
        result = subprocess.run(words, stdout=sys.stderr, stdin=subprocess.DEVNULL, **options)
    except FileNotFoundError:
        raise Unavailable(f"there is no {words[0]}") from None
    if result.returncode != 0:
        raise Unavailable(f"this ended with exit status {result.returncode}: {' '.join(words)}")


def require(*tools, package):
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        raise Unavailable(f"there is no {' and no '.join(missing)} (on Debian: apt-get install {package})")


def once(name, recipe, build):
    """Returns a folder filled by `build`. Builds only if the recipe or the folder's path has
    changed."""
    home = os.path.join(CACHE, name)
    stamp = os.path.join(home, "stamp")
    digest = hashlib.sha256("\0".join([home, *recipe]).encode()).hexdigest()
    if not (os.path.exists(stamp) and read(stamp) == digest):
        say(f"installing {name} in {home}")
        shutil.rmtree(home, ignore_errors=True)
        os.makedirs(home)
        build(home)
        with open(stamp, "w") as file:
            file.write(digest)
    return home


def read(path):
    with open(path) as file:
        return file.read()


def source(name, *files):
    return [read(os.path.join(HERE, name, file)) for file in files]


def copy(name, file, home):
    return shutil.copy(os.path.join(HERE, name, file), home)


# Rust


def rust_version(name):
    """The version in the lock file, which `cargo build --locked` uses."""
    lock = read(os.path.join(HERE, "Cargo.lock"))
    versions = re.findall(rf'^name = "{name}"\nversion = "(.+)"$', lock, re.MULTILINE)
    # axum depends on an older tokio-tungstenite.
    return max(versions, key=numbers)


def numbers(version):
    return [int(part) for part in version.split(".")]


def rust(name):
    target = os.path.join(HERE, "target")
    require("cargo", package="cargo, or rustup")
    # In this folder, for its .cargo/config.toml.
    command("cargo", "build", "--quiet", "--release", "--locked", "--bin", name, "--target-dir", target, cwd=HERE)
    return [os.path.join(target, "release", name)]


def build_ringway(root):
    target = os.environ.get("CARGO_TARGET_DIR") or os.path.join(root, "target")
    try:
        command("cargo", "build", "--release", "--locked", "-p", "ringway-cli", "--target-dir", target, cwd=root)
    except Unavailable as reason:
        raise Failed(f"ringway itself is not built: {reason}") from None
    return os.path.join(target, "release", "ringway")


# JavaScript


def npm(name, home):
    require("node", "npm", package="nodejs npm")
    for file in ("package.json", "package-lock.json"):
        copy(name, file, home)
    command("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", cwd=home)


def ws():
    files = source("ws", "package.json", "package-lock.json")
    home = once("ws", files, build_ws)
    return [shutil.which("node"), copy("ws", "echo.js", home)]


def build_ws(home):
    npm("ws", home)
    # Without its native code bufferutil silently falls back to JavaScript. The package contains
    # prebuilt code for common platforms; npm compiles it for others.
    native = "process.exit(/native code/.test(require('bufferutil').unmask) ? 0 : 1)"
    if subprocess.run(["node", "-e", native], cwd=home).returncode != 0:
        command("npm", "rebuild", "--foreground-scripts", "bufferutil", cwd=home)
        command("node", "-e", native, cwd=home)


def bun(program):
    home = once("bun", source("bun", "package.json", "package-lock.json"), build_bun)
    return [bun_program(home), copy("bun", program, home)]


def build_bun(home):
    npm("bun", home)
    command(bun_program(home), "--version")


def bun_program(home):
    """The package `bun` depends on one package per platform, which contains the program."""
    programs = sorted(glob.glob(os.path.join(home, "node_modules", "@oven", "bun-linux-*", "bin", "bun")))
    if not programs:
        raise Unavailable(f"npm installed no program for this platform in {home}")
    return programs[0]


# Python


def python(name, native_module):
    def build(home):
        python = os.path.join(home, "environment", "bin", "python")
        try:
            command(sys.executable, "-m", "venv", os.path.join(home, "environment"))
        except Unavailable as reason:
            raise Unavailable(f"{reason} (on Debian: apt-get install python3-venv)") from None
        command(python, "-m", "pip", "--quiet", "install", "-r", os.path.join(HERE, name, "requirements.txt"))
        # The package can be installed without its native module, and is slow then.
        command(python, "-c", f"import uvloop, {native_module}")

    home = once(name, [sys.executable, sys.version, native_module, *source(name, "requirements.txt")], build)
    return [os.path.join(home, "environment", "bin", "python"), copy(name, "echo.py", home)]


# Go and C, from Debian


def debian(name, *packages):
    """Downloads packages and their missing dependencies, and unpacks them into a folder."""

    def build(home):
        require("apt-get", "dpkg", package="apt dpkg")
        apt = os.path.join(home, "apt")
        for folder in ("lists/partial", "archives/partial"):
            os.makedirs(os.path.join(apt, folder))
        get = ["apt-get", "-qq", "-o", "Debug::NoLocking=true", "-o", "APT::Sandbox::User=root"]
        get += ["-o", f"Dir::State::lists={apt}/lists", "-o", f"Dir::Cache={apt}", "-o", "Acquire::Retries=3"]
        command(*get, "update")
        command(*get, "-y", "--no-install-recommends", "--download-only", "install", *packages)
        for archive in glob.glob(f"{apt}/archives/*.deb"):
            command("dpkg", "-x", archive, os.path.join(home, "root"))
        shutil.rmtree(apt)

    return os.path.join(once(f"{name}-debian", packages, build), "root")


def gorilla():
    go, packages = shutil.which("go"), GO_PACKAGES
    environment = os.environ | {"GO111MODULE": "off", "GOFLAGS": ""}
    if go is None or not os.path.isdir(os.path.join(GO_PACKAGES, "src/github.com/gorilla/websocket")):
        root = debian("gorilla", "golang-go", "golang-github-gorilla-websocket-dev")
        unpacked = glob.glob(os.path.join(root, "usr/lib/go-*"))
        if unpacked:
            environment["GOROOT"] = unpacked[0]
            go = os.path.join(unpacked[0], "bin", "go")
        packages = os.path.join(root, GO_PACKAGES.lstrip("/"))
    home = once("gorilla", [], lambda home: None)
    environment |= {"GOPATH": packages, "GOCACHE": os.path.join(home, "build")}
    program = os.path.join(home, "echo")
    command(go, "build", "-o", program, os.path.join(HERE, "gorilla", "echo.go"), env=environment)
    return [program]


def libwebsockets():
    require("cc", package="gcc")
    flags = installed_libwebsockets()
    if flags is None:
        usr = os.path.join(debian("libwebsockets", "libwebsockets-dev"), "usr")
        libraries = [os.path.dirname(path) for path in glob.glob(f"{usr}/lib/*/libwebsockets.so")]
        if not libraries:
            raise Unavailable(f"Debian's package contains no {usr}/lib/*/libwebsockets.so")
        folder = libraries[0]
        flags = [f"-I{usr}/include", f"-I{usr}/include/{os.path.basename(folder)}", f"-L{folder}", "-lwebsockets"]
        # An rpath instead of a runpath: the loader also applies it to the dependencies of the library.
        flags += [f"-Wl,-rpath,{folder}", "-Wl,--disable-new-dtags"]
    home = once("libwebsockets", [], lambda home: None)
    program = os.path.join(home, "echo")
    command("cc", "-O3", "-march=native", "-Wall", os.path.join(HERE, "libwebsockets", "echo.c"), "-o", program, *flags)
    return [program]


def installed_libwebsockets():
    if shutil.which("pkg-config") is None:
        return None
    found = subprocess.run(["pkg-config", "--cflags", "--libs", "libwebsockets"], capture_output=True, text=True)
    return found.stdout.split() if found.returncode == 0 else None
