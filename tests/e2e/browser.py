"""A real browser for tests of the page: chromium-headless-shell, driven by npm's playwright-core through servers/browser.js."""
import json
import select
import subprocess

from harness import MODULES, PATIENCE, SERVERS, Process, environment

PROGRAMS = ("chromium-headless-shell", "/usr/lib/chromium/chromium-headless-shell", "chromium")


class Browser:
    def __init__(self, node, program):
        self.child = Process([node, SERVERS / "browser.js", MODULES, program], stdin=subprocess.PIPE, env=environment())
        self.read = 0
        self.version = self.answer()

    def answer(self):
        """The next line of its output, bounded."""
        for _ in range(int(PATIENCE * 100) * 3):
            lines = self.child.out().splitlines(keepends=True)
            if len(lines) > self.read and lines[self.read].endswith("\n"):
                self.read += 1
                reply = json.loads(lines[self.read - 1])
                assert "error" not in reply, reply["error"]
                return reply["value"]
            assert self.child.running(), f"the browser ended: {self.child.err()}"
            select.select([], [], [], 0.01)
        raise AssertionError(f"the browser says nothing: {self.child.err()}")

    def tell(self, do, **more):
        self.child.child.stdin.write(json.dumps({"do": do, **more}).encode() + b"\n")
        self.child.child.stdin.flush()
        return self.answer()

    def open(self, name, url, width=1280, theme="light", **more):
        status = self.tell("open", page=name, url=url, width=width, theme=theme, **more)
        assert status == 200, status
        return Page(self, name)

    def end(self):
        self.child.child.stdin.close()
        self.child.end(seconds=5)
        self.child.cleanup()


class Page:
    def __init__(self, browser, name):
        self.browser, self.name = browser, name

    def tell(self, do, **more):
        return self.browser.tell(do, page=self.name, **more)

    def evaluate(self, expression):
        return self.tell("evaluate", expression=expression)

    def wait(self, expression, seconds=PATIENCE):
        return self.tell("wait", expression=expression, ms=int(seconds * 1000))

    def text(self, selector):
        return self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText")

    def wait_word(self, word):
        self.wait(f"document.querySelector('h1').textContent === {json.dumps(word)}")

    def look(self, file, theme, width, media=None):
        """A screenshot, as FILE-THEME-WIDTH.png; nothing may stick out to the right."""
        self.tell("media", theme=theme, media=media)
        self.tell("resize", width=width)
        wide = self.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{file}: {wide} pixels in a window of {width}"
        self.tell("shot", file=f"{file}-{theme}-{media or width}.png")

    def axe(self):
        """What axe-core finds wrong, by WCAG and its best practices."""
        return self.tell("axe")

    def noise(self):
        """Errors and warnings of the console, exceptions, requests to anywhere else."""
        return self.tell("noise")

    def close(self):
        self.tell("close")
