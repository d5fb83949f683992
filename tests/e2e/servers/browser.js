/*
 * A browser for test_page.py: reads one command a line from stdin, as JSON, and answers each with one line. Pages have names. argv: the folder of the
 * npm packages, and the browser's program.
 */
const [, , modules, program] = process.argv;
const { chromium } = require(`${modules}/playwright-core`);
const axe = require.resolve(`${modules}/axe-core/axe.min.js`);
const readline = require('readline');

let browser;
const pages = {}, noise = {};

const commands = {
  async open({ page, url, width, theme, script }) {
    const context = await browser.newContext({
      viewport: { width, height: 900 }, colorScheme: theme, timezoneId: 'Asia/Kolkata', locale: 'en-GB', javaScriptEnabled: script !== false,
    });
    const made = (pages[page] = await context.newPage());
    noise[page] = [];
    made.on('console', m => ['error', 'warning'].includes(m.type()) && noise[page].push(`${m.type()}: ${m.text()}`));
    made.on('pageerror', e => noise[page].push(`exception: ${e.message}`));
    made.on('request', r => {
      if (new URL(r.url()).origin !== new URL(url).origin && !r.url().startsWith('data:')) noise[page].push(`outside: ${r.url()}`);
    });
    const response = await made.goto(url, { waitUntil: 'domcontentloaded' });
    return response.status();
  },
  resize: ({ page, width }) => pages[page].setViewportSize({ width, height: 900 }),
  media: ({ page, theme, media }) => pages[page].emulateMedia({ colorScheme: theme, media: media || null }),
  evaluate: ({ page, expression }) => pages[page].evaluate(expression),
  /* Asked again and again from outside: the page's policy lets nobody poll inside it. */
  async wait({ page, expression, ms }) {
    for (const end = Date.now() + ms; ; await new Promise(done => setTimeout(done, 20))) {
      if (await pages[page].evaluate(expression)) return true;
      if (Date.now() > end) throw new Error(`not within ${ms} ms: ${expression}; the page says: ${await pages[page].evaluate('document.body.innerText')}`);
    }
  },
  press: ({ page, key }) => pages[page].keyboard.press(key),
  shot: ({ page, file, full }) => pages[page].screenshot({ path: file, fullPage: full !== false }).then(() => true),
  noise: ({ page }) => noise[page],
  /* axe needs an evaluation of its own, which the page's policy does not hinder: it is the browser's. */
  async axe({ page }) {
    await pages[page].evaluate(require('fs').readFileSync(axe, 'utf8'));
    const result = await pages[page].evaluate(() => axe.run(document, { resultTypes: ['violations'] }));
    return result.violations.map(v => `${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map(n => n.html.slice(0, 120)).join(' | ')}`);
  },
  async close({ page }) {
    await pages[page].context().close();
    delete pages[page];
  },
};

(async () => {
  browser = await chromium.launch({ executablePath: program, args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'] });
  console.log(JSON.stringify({ value: browser.version() }));
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    try {
      console.log(JSON.stringify({ value: (await commands[command.do](command)) ?? null }));
    } catch (error) {
      console.log(JSON.stringify({ error: String(error.message || error) }));
    }
  }
  await browser.close();
})();
