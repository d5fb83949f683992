"""What a release is made of: the archive, the changelog, the SPDX document. `make deb` and `make image` are built by .ci/run."""
import hashlib
import json
import re
import subprocess

import pytest

from harness import BUILD, RELEASE, ROOT, wshealthd

PACKAGING = ROOT / "packaging"


def run(*command, **more):
    done = subprocess.run([str(word) for word in command], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def version():
    return re.search(r'"(.*)"', (ROOT / "agent/base/version.h").read_text()).group(1)


def test_two_archives_have_the_same_bytes(tool, tmp_path, version):
    tool("git")
    if not (ROOT / ".git").exists():
        pytest.skip("not a git clone")
    archives = []
    for name in ("one", "two"):
        run(PACKAGING / "dist", tmp_path / name, version)
        folder = tmp_path / name / "dist"
        archives.append((folder / f"wshealthd-{version}.tar.gz").read_bytes())
        assert (folder / f"wshealthd-{version}.tar.gz.sha256").read_text().startswith(hashlib.sha256(archives[-1]).hexdigest())
    assert archives[0] == archives[1]
    names = run("tar", "-tzf", tmp_path / "one" / "dist" / f"wshealthd-{version}.tar.gz").splitlines()
    assert f"wshealthd-{version}/Makefile" in names and all(name.startswith(f"wshealthd-{version}/") for name in names)


def test_the_newest_change_is_of_this_version(tool, tmp_path, version):
    assert wshealthd("--version")[1] == f"wshealthd {version}\n"
    changelog = run(PACKAGING / "changelog", ROOT / "CHANGELOG.md", "A B <a@b.example>")
    assert changelog.startswith(f"wshealthd ({version}) unstable; urgency=medium\n\n  * ")
    (tmp_path / "changelog").write_text(changelog)
    tool("dpkg-parsechangelog")
    assert run("dpkg-parsechangelog", "-l", tmp_path / "changelog", "-S", "Version").strip() == version


def test_the_bill_of_materials(tool, version):
    for name in ("dpkg-query", "ldd"):
        tool(name)
    text = run(PACKAGING / "sbom", RELEASE)
    assert run(PACKAGING / "sbom", RELEASE) == text, "two runs differ"
    document = json.loads(text)
    assert (document["spdxVersion"], document["dataLicense"], document["SPDXID"]) == ("SPDX-2.3", "CC0-1.0", "SPDXRef-DOCUMENT")
    packages = {package["SPDXID"]: package for package in document["packages"]}
    assert len(packages) == len(document["packages"])
    for key in ("name", "downloadLocation", "licenseConcluded", "licenseDeclared", "copyrightText", "versionInfo"):
        assert all(package[key] for package in packages.values()), key
    ours = packages["SPDXRef-wshealthd"]
    assert ours["versionInfo"] == version and ours["checksums"][0]["checksumValue"] == hashlib.sha256((BUILD / "release/wshealthd").read_bytes()).hexdigest()
    related = {}
    for relation in document["relationships"]:
        assert {relation["spdxElementId"], relation["relatedSpdxElement"]} <= {*packages, "SPDXRef-DOCUMENT"}
        related.setdefault(relation["relationshipType"], set()).update((relation["spdxElementId"], relation["relatedSpdxElement"]))
    linked, opened = (" ".join(sorted(related[kind])) for kind in ("DYNAMIC_LINK", "OPTIONAL_DEPENDENCY_OF"))
    assert "libssl" in linked and "libuv1" in linked and "libnats" in opened and "libnghttp2" in opened
    assert "llhttp" in text
