// Debian's Chromium by playwright-core, and axe-core that looks at what it shows: what every walk through the page needs.
const assert = require('assert');
const fs = require('fs');
const { chromium } = require('playwright-core');
const axe = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

const FLAGS = '--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking ' +
  '--disable-component-update --disable-sync --disable-quic';
const PATIENCE = 15000;

/** Asks until it is so; what was seen last says why not. */
async function until(what, ask) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const seen = await ask();
    if (seen === true || (seen && seen.ok)) return seen;
    assert(Date.now() < end, `in vain: ${what}; last: ${JSON.stringify(seen)}`);
    await new Promise((done) => setTimeout(done, 100));
  }
}

/** A browser. `told`: what its pages said, what they loaded from elsewhere, how often axe had nothing to say. */
async function launch(...origins) {
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: FLAGS.split(' ') });
  const told = { console: [], elsewhere: [], axe: 0 };
  const open = async (options = {}) => {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE);
    page.on('console', (message) => told.console.push(`${message.type()}: ${message.text()}`));
    page.on('pageerror', (error) => told.console.push(`error: ${error.stack}`));
    page.on('request', (request) => {
      if (!origins.includes(new URL(request.url()).origin) && !request.url().startsWith('data:')) told.elsewhere.push(request.url());
    });
    return page;
  };
  const sound = async (page, name) => {
    await page.evaluate(axe);
    const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
    const said = found.violations.map((v) => `${v.id}: ${v.help}: ${v.nodes.map((n) => n.html.slice(0, 160)).slice(0, 3).join(' | ')}`);
    assert.deepStrictEqual(said, [], `axe on ${name}`);
    told.axe += 1;
  };
  return { told, open, sound, close: () => browser.close() };
}

/** Runs a walk, which ends the process with what is wrong. */
function walk(main) {
  main().catch((error) => {
    console.error(error.stack);
    process.exit(1);
  });
}

module.exports = { launch, until, walk };
