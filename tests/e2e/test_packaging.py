"""What a release is made of: the archive, the changelog, the SPDX document. `make deb` and `make image` are built by .ci/run."""
import hashlib
import io
import json
import re
import subprocess
import tarfile

import pytest

from harness import BUILD, RELEASE, ROOT, agent, wshealthd

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


def built(what, name):
    """The newest of that name, unless it is older than its recipe."""
    found = sorted((ROOT / "build" / what).glob(name))
    recipe = [PACKAGING / what, *(PACKAGING / "debian").iterdir(), *(ROOT / "systemd").rglob("*")] if what == "deb" else [PACKAGING / what, PACKAGING / "image-root", PACKAGING / "Containerfile"]
    if not found or found[-1].stat().st_mtime < max(file.stat().st_mtime for file in recipe):
        pytest.skip(f"build/{what}/{name} is missing, or older than its recipe (make {what})")
    return found[-1]


def test_the_package_is_small(tool):
    """At most 1.5 MB installed, without its libraries."""
    size = int(run(tool("dpkg-deb"), "-f", built("deb", "wshealthd_*.deb"), "Installed-Size")) * 1024
    assert size <= 1.5e6, f"{size} bytes"


def test_the_image_is_what_readme_says(tmp_path, version):
    """Its size, its user, its health check, and that it has no shell, from the archive that `make image` writes."""
    with tarfile.open(built("image", f"wshealthd-{version}.tar")) as archive:
        def blob(name):
            return archive.extractfile(name).read()

        (manifest,) = json.loads(blob("manifest.json"))
        files = [member for layer in manifest["Layers"] for member in tarfile.open(fileobj=io.BytesIO(blob(layer)))]
        config = json.loads(blob(manifest["Config"]))["config"]
    said = float(re.search(r"([\d.]+) MB, no shell, user 65532", (ROOT / "README.md").read_text())[1])
    size = sum(member.size for member in files) / 1e6
    assert abs(size - said) < 0.25 and size <= 15, f"{size:.2f} MB; README says {said}"
    names = {member.name.rpartition("/")[2] for member in files}
    assert "wshealthd" in names and not names & {"sh", "bash", "dash", "busybox"}
    assert config["User"] == "65532:65532" and config["Entrypoint"] == ["/usr/bin/wshealthd"]
    kind, program, *args = config["Healthcheck"]["Test"]
    assert (kind, program) == ("CMD", "/usr/bin/wshealthd")
    with agent("target: { url: ws://127.0.0.1:9/ws }\n", tmp_path) as child:  # a server that is down makes no agent ill
        code, out, err = wshealthd(*(word.replace(":9717", f":{child.port}") for word in args))
        assert code == 0, out + err
