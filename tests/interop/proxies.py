"""nginx and HAProxy as reverse proxies: the configurations of deploy/proxy, and others with TLS. Each
listens on a port of the system."""

import contextlib
import pathlib

import processes
import programs
import ringway

DEPLOY = programs.WORKSPACE / "deploy" / "proxy"
MODULE = pathlib.Path("/usr/lib/nginx/modules/ngx_stream_module.so")

NGINX = """
{module}
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 256; }}
{blocks}
"""

NGINX_HTTP = """
http {{
  access_log off;
  client_body_temp_path {folder}/nginx-body;
  proxy_temp_path {folder}/nginx-proxy;
  fastcgi_temp_path {folder}/nginx-fastcgi;
  uwsgi_temp_path {folder}/nginx-uwsgi;
  scgi_temp_path {folder}/nginx-scgi;
  {servers}
}}
"""

NGINX_TLS_SERVER = """
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {folder}/server.pem;
    ssl_certificate_key {folder}/server.key;
    ssl_protocols TLSv1.2 TLSv1.3;
    location / {{
      proxy_pass {upstream};
      proxy_http_version 1.1;
      proxy_set_header Host $host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection "upgrade";
      {tls}
    }}
  }}
"""

# The certificate of Ringway is verified.
NGINX_TLS = """
      proxy_ssl_server_name on;
      proxy_ssl_name localhost;
      proxy_ssl_verify on;
      proxy_ssl_verify_depth 2;
      proxy_ssl_trusted_certificate {folder}/ca.pem;
      proxy_ssl_protocols TLSv1.2 TLSv1.3;
"""

NGINX_STREAM = """
stream {{
  server {{
    listen 127.0.0.1:{port};
    proxy_pass {upstream};
  }}
}}
"""

HAPROXY = """
global
  maxconn 256
defaults
  mode {mode}
  timeout connect 10s
  timeout client 60s
  timeout server 60s
  timeout tunnel 60s
frontend front
  bind 127.0.0.1:{port} {bind}
  default_backend back
backend back
  server ringway {upstream}
"""


def deployed(name, port, server, timeout):
    """The text of a configuration of deploy/proxy, with other ports, and with another time for the
    silence of an upgraded connection. Each of them must be in the file."""
    text = (DEPLOY / name).read_text(encoding="utf-8")
    bind = {"nginx.conf": ("listen 8080;", f"listen 127.0.0.1:{port};"),
            "haproxy.cfg": ("bind :8080", f"bind 127.0.0.1:{port}")}[name]  # fmt: skip
    for old, new in [bind, ("127.0.0.1:9001", f"127.0.0.1:{server.port}"), ("120s", timeout)]:
        if old not in text:
            raise processes.Failure(f"deploy/proxy/{name} does not contain '{old}', which the tests replace")
        text = text.replace(old, new)
    return text


def nginx_deployed(server, timeout="120s"):
    """nginx with the configuration of deploy/proxy."""
    port = processes.free_port()
    return nginx(NGINX_HTTP, {"port": port, "servers": deployed("nginx.conf", port, server, timeout)})


@contextlib.contextmanager
def haproxy_deployed(server, timeout="120s"):
    """HAProxy with the configuration of deploy/proxy."""
    port = processes.free_port()
    text = "global\n  maxconn 256\n" + deployed("haproxy.cfg", port, server, timeout)
    with haproxy_of(text, port):
        yield port


def nginx_http(upstream, tls=False):
    """nginx that terminates TLS; `upstream` is a URL. With `tls`, it connects with TLS again."""
    values = {"folder": ringway.folder, "port": processes.free_port(), "upstream": upstream}
    values["tls"] = NGINX_TLS.format(**values) if tls else ""
    return nginx(NGINX_HTTP, {**values, "servers": NGINX_TLS_SERVER.format(**values)})


def nginx_stream(server):
    """nginx that passes TCP through."""
    return nginx(NGINX_STREAM, {"upstream": f"127.0.0.1:{server.port}"})


@contextlib.contextmanager
def nginx(template, values):
    values = {"folder": ringway.folder, "port": processes.free_port(), **values}
    module = f"load_module {MODULE};" if MODULE.exists() else ""
    config = NGINX.format(module=module, blocks=template.format(**values), **values)
    config = ringway.write("nginx.conf", config)
    command = ["nginx", "-p", ringway.folder, "-c", config, "-e", "stderr"]
    with processes.logged(command, ringway.log("nginx")) as child:
        processes.wait_until_listening(child, values["port"], "nginx")
        yield values["port"]


def haproxy_http(upstream, tls=False):
    """HAProxy that terminates TLS; `upstream` is its address. With `tls`, it connects with TLS
    again."""
    if tls:
        ca = ringway.file("ca.pem")
        upstream += f" ssl verify required ca-file {ca} sni str(localhost) verifyhost localhost alpn http/1.1"
    bind = f"ssl crt {ringway.file('both.pem')} alpn http/1.1"
    return haproxy(mode="http", bind=bind, upstream=upstream)


def haproxy_tcp(server):
    """HAProxy that passes TCP through."""
    return haproxy(mode="tcp", bind="", upstream=f"127.0.0.1:{server.port}")


@contextlib.contextmanager
def haproxy(**values):
    # HAProxy wants the certificate and the key in one file.
    parts = [(ringway.folder / name).read_text(encoding="utf-8") for name in ("server.pem", "server.key")]
    ringway.write("both.pem", "".join(parts))
    port = processes.free_port()
    with haproxy_of(HAPROXY.format(port=port, **values), port):
        yield port


@contextlib.contextmanager
def haproxy_of(text, port):
    config = ringway.write("haproxy.cfg", text)
    with processes.logged(["haproxy", "-db", "-f", config], ringway.log("haproxy")) as child:
        processes.wait_until_listening(child, port, "haproxy")
        yield
