"""The Debian package: what is in it, what lintian finds, and what dpkg makes of it, in whichever order things happen.

The orders are tried with dpkg in an empty folder, where stand-ins take the places of Debian's packages. Then, where root
may make a mount namespace, a throw-away layer over this very system gets the package, and its host is started.
"""

import glob
import os
import re
import shutil
import subprocess

import pytest

from host import TOP, Port, host_modules_folder, host_program, host_version

NAME = "kamailio-tls-shm"
MODULE = f"{host_modules_folder()}/tls.so"
ASIDE = f"{host_modules_folder()}/tls-distrib.so"
HOST = ".".join(str(n) for n in host_version())
SECONDS = 600  # much is built, perhaps on a machine that does much else

pytestmark = pytest.mark.timeout(900)  # the package is built on the way
DOCUMENTS = f"/usr/share/doc/{NAME}"


def run(*words, status=0, **how):
    """Runs a command; fails unless it ends with `status` (None: any). Returns what it printed."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS", "CFLAGS", "CC"))}
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=SECONDS, check=False, env=dict(env, LC_ALL="C", **how.pop("env", {})), **how)
    assert status in (done.returncode, None), f"{words} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def field(deb, name):
    return run("dpkg-deb", "-f", str(deb), name).strip()


@pytest.fixture(scope="module", name="built")
def fixture_built(tmp_path_factory):
    """The folder with what make deb leaves."""
    if not run("dpkg-query", "-S", os.path.realpath(host_program()), status=None).startswith("kamailio:"):
        pytest.skip("the host is not that of Debian's package")
    folder = tmp_path_factory.mktemp("deb")
    said = run("make", "-C", TOP, "deb", f"DEB_DIR={folder}")
    assert f"Building the package for kamailio {HOST}" in said
    return folder


@pytest.fixture(scope="module", name="deb")
def fixture_deb(built):
    [found] = glob.glob(f"{built}/{NAME}_*.deb")
    return found


@pytest.fixture(scope="module", name="newer")
def fixture_newer(deb, tmp_path_factory):
    return repack(deb, tmp_path_factory.mktemp("newer"), version="9999-1")


def repack(deb, folder, version, more_files=(), depends=None):
    """The package again, as of another version and with a module that shows it; returns the new file."""
    run("dpkg-deb", "-R", str(deb), f"{folder}/x")
    with open(f"{folder}/x{MODULE}", "ab") as f:
        f.write(version.encode())
    for path in more_files:
        os.makedirs(os.path.dirname(f"{folder}/x{path}"), exist_ok=True)
        shutil.copy(f"{folder}/x/DEBIAN/control", f"{folder}/x{path}")
    names = sorted(os.path.relpath(name, f"{folder}/x") for name in glob.glob(f"{folder}/x/usr/**", recursive=True)
                   if os.path.isfile(name))
    with open(f"{folder}/x/DEBIAN/md5sums", "w", encoding="ascii") as f:
        f.write(run("md5sum", *names, cwd=f"{folder}/x"))
    with open(f"{folder}/x/DEBIAN/control", encoding="utf-8") as f:
        control = re.sub(r"^Version: .*$", f"Version: {version}", f.read(), flags=re.M)
    if depends:
        control = re.sub(r"^Depends: .*$", f"Depends: {depends}", control, flags=re.M)
    with open(f"{folder}/x/DEBIAN/control", "w", encoding="utf-8") as f:
        f.write(control)
    run("dpkg-deb", "--root-owner-group", "-b", f"{folder}/x", f"{folder}/{version}.deb")
    return f"{folder}/{version}.deb"


def module_in(deb, folder):
    """The bytes of a package's module."""
    run("dpkg-deb", "-x", str(deb), str(folder))
    with open(f"{folder}{MODULE}", "rb") as f:
        return f.read()


# What is in it


def test_lintian(built):
    """No error and no warning, of the debug symbols and the list of changes either."""
    [changes] = glob.glob(f"{built}/{NAME}_*.changes")
    said = run("lintian", "--allow-root", changes, status=None)
    assert not re.search(r"^[EW]: ", said, re.M) and "internal error" not in said, said


def test_contents(deb):
    """The module, every page, the samples as this package wants them; nothing outside of /usr."""
    listed = run("dpkg-deb", "-c", deb)
    files = {line.split()[5][1:] for line in listed.splitlines() if line.startswith("-")}
    pages = {f"{DOCUMENTS}/doc/{os.path.basename(name)}" for name in glob.glob(f"{TOP}/doc/*")}
    known = {MODULE, f"{DOCUMENTS}/README.md", f"{DOCUMENTS}/README.Debian", f"{DOCUMENTS}/copyright", f"{DOCUMENTS}/changelog.gz",
             f"{DOCUMENTS}/changelog.Debian.gz", f"{DOCUMENTS}/examples/tls.cfg", f"{DOCUMENTS}/examples/ser.cfg"} | pages
    assert files == known and len(pages) > 5
    for sample in "tls.cfg", "ser.cfg":
        text = run("sh", "-c", f"dpkg-deb --fsys-tarfile '{deb}' | tar -xO .{DOCUMENTS}/examples/{sample}")
        assert '"tls.so"' in text and "tls/tls.so" not in text
    assert all(line.split()[1] == "root/root" for line in listed.splitlines())


def test_dependency(deb):
    """On the host of this one version."""
    major, minor, patch = host_version()
    wanted = [word.strip() for word in field(deb, "Depends").split(",")]
    assert f"kamailio (>= {HOST})" in wanted
    assert f"kamailio (<< {major}.{minor}.{patch + 1}~)" in wanted
    assert any(word.startswith("libssl3") for word in wanted)
    assert f"Kamailio {HOST}" in field(deb, "Description")


def test_no_restart(deb):
    """Nothing in the scripts starts or stops a server; one line says that it is left to the operator."""
    scripts = run("sh", "-c", f"dpkg-deb --ctrl-tarfile '{deb}' | tar -xO ./preinst ./postinst ./postrm")
    assert not re.search(r"systemctl|invoke-rc|service |init\.d|deb-systemd|kill", scripts)


def test_host_without_package(tmp_path):
    """A host that no package brought is told that make install is for it."""
    program = tmp_path / "kamailio"
    program.write_text(f"#!/bin/sh\nexec {host_program()} \"$@\"\n", encoding="ascii")
    program.chmod(0o755)
    said = run("tools/deb.sh", "build", str(tmp_path / "out"), "build", status=1, cwd=TOP, env={"KAMAILIO": str(program)})
    assert "not from the package kamailio" in said and "make install" in said


def test_version(tmp_path):
    """The newest release of the changelog, and more where the tree has more; the host's stands at the end."""
    tree = tmp_path / "tree"
    tree.mkdir()
    shutil.copytree(f"{TOP}/tools", tree / "tools")
    git = ["git", "-C", str(tree), "-c", "user.name=x", "-c", "user.email=x@x.invalid"]

    def version():
        return run(f"{tree}/tools/deb.sh", "version").strip()

    (tree / "CHANGELOG.md").write_text("## [Unreleased]\n", encoding="ascii")
    assert re.fullmatch(rf"0\+\d{{12}}-1\+kamailio{HOST}", version())
    if not shutil.which("git"):
        return
    run(*git, "init", "-q")
    (tree / "CHANGELOG.md").write_text("## [Unreleased]\n\n## [1.2.0] - 2026-01-31\n\n## [1.1.0]\n", encoding="ascii")
    run(*git, "add", "-A")
    run(*git, "commit", "-qm", "x", env={"GIT_COMMITTER_DATE": "2026-02-01T12:00:00Z"})
    assert version() == f"1.2.0+git202602011200-1+kamailio{HOST}"
    run(*git, "tag", "v1.2.0")
    assert version() == f"1.2.0-1+kamailio{HOST}"
    (tree / "new").touch()
    assert version() == f"1.2.0+git202602011200.1-1+kamailio{HOST}"
    for older, later in ("1.2.0", "1.2.0+git202602011200"), ("1.2.0+git202602011200.1", "1.2.1"), ("0+git2026", "0.1"):
        run("dpkg", "--compare-versions", f"{older}-1+kamailio{HOST}", "lt", f"{later}-1+kamailio{HOST}")


# What dpkg makes of it, with stand-ins


class Root:
    """A folder with a dpkg of its own. Its scripts run outside, as dpkg lets those do that know DPKG_ROOT: no right of
    root is needed."""

    def __init__(self, folder, deb):
        self.folder, self.made = folder, folder.parent / f"{folder.name}-packages"
        self.made.mkdir()
        for place in "var/lib/dpkg/info", "var/lib/dpkg/updates", "tmp":
            (folder / place).mkdir(parents=True)
        for name in "status", "available":
            (folder / "var/lib/dpkg" / name).touch()
        libraries = [word.strip() for word in field(deb, "Depends").split(",") if not word.strip().startswith("kamailio")]
        provided = ", ".join(re.sub(r"\(>= (.*)\)", r"(= \1)", word) for word in libraries)
        self.dpkg("-i", self.stand_in("libraries", "1", provides=provided))

    def stand_in(self, name, version, files=(), **fields):
        """A package with these files, which hold its name and version."""
        tree = self.made / f"{name}-{version}"
        (tree / "DEBIAN").mkdir(parents=True)
        for path in files:
            (tree / path[1:]).parent.mkdir(parents=True, exist_ok=True)
            (tree / path[1:]).write_text(f"{name} {version}", encoding="ascii")
        more = "".join(f"{key.title()}: {value}\n" for key, value in fields.items())
        (tree / "DEBIAN/control").write_text(
            f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: x <x@x.invalid>\n{more}Description: x\n",
            encoding="ascii")
        run("dpkg-deb", "--root-owner-group", "-b", str(tree), f"{tree}.deb")
        return f"{tree}.deb"

    def dpkg(self, *words, status=0):
        return run("dpkg", f"--root={self.folder}", "--force-script-chrootless", "--force-not-root", "--force-bad-path",
                   f"--log={self.folder}/log", *words, status=status)

    def host(self, version=f"{HOST}-2"):
        return self.stand_in("kamailio", version, ["/usr/sbin/kamailio"])

    def debian(self, version=f"{HOST}-2"):
        return self.stand_in("kamailio-tls-modules", version, [MODULE])

    def read(self, path):
        """The bytes of a file there; None: it does not exist."""
        try:
            return (self.folder / path[1:]).read_bytes()
        except FileNotFoundError:
            return None

    def diversions(self):
        return run("dpkg-divert", f"--root={self.folder}", "--list", "*tls*")


@pytest.fixture(name="root")
def fixture_root(tmp_path, deb):
    folder = tmp_path / "root"
    folder.mkdir()
    return Root(folder, deb)


DEBIANS = f"kamailio-tls-modules {HOST}-2".encode()


def test_over_debians(root, deb, newer, tmp_path):
    """Installed over Debian's package, upgraded, removed, purged: each time the right one is tls.so."""
    ours = module_in(deb, tmp_path)
    root.dpkg("-i", root.host(), root.debian())
    said = root.dpkg("-i", deb)
    assert 'loadmodule "tls.so" means this package\'s module now' in said and "restart" in said
    assert (root.read(MODULE), root.read(ASIDE)) == (ours, DEBIANS)
    root.dpkg("-i", newer)
    assert (root.read(MODULE), root.read(ASIDE)) == (ours + b"9999-1", DEBIANS)
    root.dpkg("-i", deb)  # and back
    root.dpkg("-i", deb)  # and once more
    assert (root.read(MODULE), root.read(ASIDE)) == (ours, DEBIANS)
    said = root.dpkg("-r", NAME)
    assert "the server's own module again" in said
    assert (root.read(MODULE), root.read(ASIDE)) == (DEBIANS, None)
    assert not root.diversions()
    root.dpkg("-i", deb)
    root.dpkg("-P", NAME)
    assert (root.read(MODULE), root.read(ASIDE)) == (DEBIANS, None)
    assert not root.diversions()
    assert NAME not in run("find", str(root.folder), "-path", "*/info/*", "-o", "-name", f"*{NAME}*")


def test_before_debians(root, deb, tmp_path):
    """Debian's package installed later, upgraded and removed: ours stays tls.so; then removed itself: it leaves nothing."""
    ours = module_in(deb, tmp_path)
    root.dpkg("-i", root.host())
    root.dpkg("-i", deb)
    assert (root.read(MODULE), root.read(ASIDE)) == (ours, None)
    root.dpkg("-i", root.debian())
    assert (root.read(MODULE), root.read(ASIDE)) == (ours, DEBIANS)
    root.dpkg("-i", root.debian(f"{HOST}-3"))
    assert (root.read(MODULE), root.read(ASIDE)) == (ours, f"kamailio-tls-modules {HOST}-3".encode())
    root.dpkg("-r", "kamailio-tls-modules")
    assert (root.read(MODULE), root.read(ASIDE)) == (ours, None)
    said = root.dpkg("-P", NAME)
    assert "there is no tls.so any more" in said
    assert (root.read(MODULE), root.read(ASIDE)) == (None, None)
    assert not root.diversions()


def test_failed_installation(root, deb, tmp_path):
    """An installation that fails while unpacking leaves Debian's module in its place; an upgrade that does, ours."""
    ours = module_in(deb, tmp_path)
    bad = repack(deb, tmp_path, "9999-2", more_files=["/usr/sbin/kamailio"])
    root.dpkg("-i", root.host(), root.debian())
    assert "trying to overwrite" in root.dpkg("-i", bad, status=1)
    assert (root.read(MODULE), root.read(ASIDE)) == (DEBIANS, None)
    assert not root.diversions()
    root.dpkg("-i", deb)
    assert "trying to overwrite" in root.dpkg("-i", bad, status=1)
    assert (root.read(MODULE), root.read(ASIDE)) == (ours, DEBIANS)
    root.dpkg("-r", NAME)
    assert (root.read(MODULE), root.read(ASIDE)) == (DEBIANS, None)


@pytest.mark.parametrize("version", ["5.5.9-1", "99.0.0-1"])
def test_other_host(root, deb, version):
    """For a host of another version it is not configured, and before that it says why."""
    root.dpkg("-i", root.host(version), root.debian(version))
    said = root.dpkg("-i", deb, status=1)
    assert f"this module is for kamailio {HOST}, and {version} is installed" in said
    assert "dependency problems" in said and "means this package's module now" not in said
    root.dpkg("-P", NAME)
    assert root.read(MODULE) == f"kamailio-tls-modules {version}".encode()


def test_other_diversion(root, deb):
    """Somebody else's diversion of the same file is respected: ours does not install."""
    root.dpkg("-i", root.host(), root.debian())
    run("dpkg-divert", f"--root={root.folder}", "--package", "other", "--rename", "--divert", f"{MODULE}.other", "--add", MODULE)
    assert "clashes" in root.dpkg("-i", deb, status=1)
    assert root.read(f"{MODULE}.other") == DEBIANS
    assert "other" in root.diversions() and NAME not in root.diversions()


# In this system


class Layer:
    """This system with a layer over it, which takes all changes and is gone with the process that holds it."""

    MOUNTS = """
        mount -t tmpfs tmpfs "$1" && mkdir "$1/upper" "$1/work" "$1/root"
        mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root" && cd "$1/root"
        mount --rbind /dev dev && mount --bind /proc proc && mount -t tmpfs tmpfs tmp && mount -t tmpfs tmpfs run
        mkdir -p ".$2" && mount --bind "$2" ".$2" && mkdir tmp/files && mount --bind "$3" tmp/files
        exec chroot . bash -c 'echo ready && read -r end'
    """

    def __init__(self, folder, files):
        self.holder = subprocess.Popen(["unshare", "--mount", "bash", "-ec", self.MOUNTS, "-", str(folder), TOP, str(files)],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.said = self.holder.stdout.readline()

    def command(self, *words):
        return ["nsenter", "--target", str(self.holder.pid), "--mount", "--root", "--wd", "env", "DEBIAN_FRONTEND=noninteractive",
                *words]

    def run(self, *words, status=0):
        return run(*self.command(*words), status=status)

    def read(self, path):
        return subprocess.run(self.command("cat", path), stdout=subprocess.PIPE, check=True).stdout

    def close(self):
        self.holder.stdin.close()
        self.holder.wait(60)
        self.holder.stdout.close()


@pytest.fixture(name="layer")
def fixture_layer(tmp_path):
    if os.getuid() != 0:
        pytest.skip("a layer over this system needs root")
    (tmp_path / "layer").mkdir()
    (tmp_path / "files").mkdir()
    layer = Layer(tmp_path / "layer", tmp_path / "files")
    if layer.said != "ready\n":
        layer.close()
        pytest.skip(f"no layer over this system can be made here: {layer.said.strip()}")
    if layer.run("dpkg-query", "-W", "-f", "${Status}", NAME, status=None) == "install ok installed":
        layer.run("dpkg", "-P", NAME)
    yield layer
    layer.close()


PLAIN = f"{TOP}/test/lib/plain.cfg"  # both modules carry it


class Demo:
    """tools/demo.py in the layer: a server that proves itself with one request over TLS."""

    def __init__(self, layer):
        self.layer, self.ports = layer, [Port(), Port()]

    def words(self, module, config):
        return ["python3", "-B", f"{TOP}/tools/demo.py", "--dir", "/tmp/demo", "--tls-port", str(self.ports[0].number),
                "--sip-port", str(self.ports[1].number), "--module", module, "--config", config]

    def answers(self, module="tls.so", config=PLAIN):
        """Whether a server that is started and stopped here answers. The packaged module does not always stop in time."""
        said = self.layer.run(*self.words(module, config), "--once", status=None)
        return "SIP/2.0 200 OK" in said or said

    def ask(self):
        """Whether the server that is running answers."""
        said = self.layer.run("python3", "-B", f"{TOP}/tools/sip_options.py", "--port", str(self.ports[0].number), "--name",
                              "example.com", "--ca", "/tmp/demo/ca.pem", "--timeout", "20", status=None)
        return "SIP/2.0 200 OK" in said or said

    def running(self):
        return subprocess.Popen(self.layer.command(*self.words("tls.so", PLAIN)), stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def release(self):
        for port in self.ports:
            port.release()


@pytest.fixture(name="demos")
def fixture_demos(layer):
    """Two of them."""
    layer.run(f"{TOP}/tools/demo-certs.sh", "/tmp/demo")
    made = [Demo(layer), Demo(layer)]
    yield made
    for demo in made:
        demo.release()


def test_in_this_system(layer, demos, deb, newer, tmp_path):
    """Debian's server answers over TLS all the while; the package comes, is upgraded and goes; each time a server that
    starts then has the right module, by the same line of its configuration."""
    [demo, other] = demos
    example = f"{DOCUMENTS}/examples/ser.cfg"
    debians, ours = layer.read(MODULE), module_in(deb, tmp_path)
    for number, package in enumerate([deb, newer]):
        shutil.copy(package, tmp_path / f"files/{number}.deb")
    with other.running() as running:
        try:
            assert any("Ctrl-C stops it" in line for line in running.stdout)
            layer.run("dpkg", "-i", "/tmp/files/0.deb")
            assert (layer.read(MODULE), layer.read(ASIDE)) == (ours, debians)
            assert demo.answers(config=example) is True
            assert demo.answers("tls-distrib.so") is True
            layer.run("dpkg", "-i", "/tmp/files/1.deb")
            assert layer.read(MODULE) == ours + b"9999-1"
            assert demo.answers(config=example) is True
            assert not layer.run("dpkg", "--verify", NAME, "kamailio-tls-modules")
            layer.run("dpkg", "-P", NAME)
            assert layer.read(MODULE) == debians
            layer.run("test", "!", "-e", ASIDE)
            assert demo.answers() is True
            assert other.ask() is True and running.poll() is None
        finally:
            running.terminate()
