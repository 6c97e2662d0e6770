"""The lock files of the peers' packages: complete, and independent of the registry that they were
made with."""

import json
import pathlib
import re
import unittest

HERE = pathlib.Path(__file__).resolve().parent


class Locks(unittest.TestCase):
    def test_the_packages_of_npm_have_hashes_and_no_address(self):
        lock = json.loads((HERE / "package-lock.json").read_text(encoding="utf-8"))
        wanted = json.loads((HERE / "package.json").read_text(encoding="utf-8"))
        packages = lock["packages"]
        self.assertEqual(packages.pop("")["dependencies"], wanted["dependencies"])
        for name, package in packages.items():
            with self.subTest(name):
                self.assertRegex(package["integrity"], "^sha512-")
                self.assertNotIn("resolved", package)

    def test_the_packages_of_pypi_have_hashes_and_no_address(self):
        wanted = (HERE / "requirements.in").read_text(encoding="utf-8").splitlines()
        locked = (HERE / "requirements.txt").read_text(encoding="utf-8")
        self.assertNotRegex(locked, r"://|--(extra-)?index-url|--find-links|--trusted-host")
        versions = re.findall(r"^(\S+==\S+) \\\n    --hash=sha256:", locked, re.MULTILINE)
        self.assertEqual(len(versions), locked.count("=="))
        self.assertLessEqual({line for line in wanted if not line.startswith("#")}, set(versions))
