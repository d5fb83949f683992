"""Certificates made at test time with the openssl command: one authority, and leaves that are good, expired, early, wrong or unsigned."""
import datetime
import pathlib
import subprocess

CONFIG = """
[ca]
default_ca = main
[main]
database = {d}/index.txt
serial = {d}/serial
new_certs_dir = {d}
default_md = sha256
policy = any
unique_subject = no
copy_extensions = copy
[any]
commonName = supplied
[req]
distinguished_name = name
prompt = no
[name]
CN = test
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
"""


def run(*args):
    done = subprocess.run(args, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(args)}: {done.stderr}")


class Certs:
    """ca, and (certificate, key) pairs by name. Times are days from now."""

    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.config, self.ca = self.dir / "openssl.cnf", self.dir / "ca.pem"
        if self.ca.exists():  # another process of the same run has made it
            return
        (self.dir / "index.txt").write_text("")
        (self.dir / "serial").write_text("1000\n")
        self.config.write_text(CONFIG.format(d=self.dir))
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-config", str(self.config),
            "-extensions", "authority", "-subj", "/CN=test authority", "-days", "3650", "-keyout", str(self.dir / "ca.key"),
            "-out", str(self.ca))

    def leaf(self, name, start=-30, end=365, names="DNS:localhost,IP:127.0.0.1,IP:::1", signed=True):
        key, request, cert = (self.dir / f"{name}.{end}" for end in ("key", "csr", "pem"))
        if cert.exists():
            return str(cert), str(key)
        ec = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-config", str(self.config), "-subj", f"/CN={name}",
              "-addext", f"subjectAltName={names}", "-keyout", str(key))
        if not signed:
            run("openssl", "req", "-x509", *ec, "-days", str(end), "-out", str(cert))
            return str(cert), str(key)
        run("openssl", "req", "-new", *ec, "-out", str(request))
        run("openssl", "ca", "-batch", "-notext", "-config", str(self.config), "-cert", str(self.ca), "-keyfile", str(self.dir / "ca.key"),
            "-startdate", stamp(start), "-enddate", stamp(end), "-in", str(request), "-out", str(cert))
        return str(cert), str(key)


def stamp(days):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)).strftime("%Y%m%d%H%M%SZ")
