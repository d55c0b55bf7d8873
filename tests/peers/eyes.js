// The page as people use it, in Debian's Chromium by playwright-core, looked at by axe-core.
// Arguments: the page's address, the pid of a worker of payment to be killed, a folder for pictures or `-`.
const assert = require('assert');
const fs = require('fs');
const { launch, until, walk } = require('./browser');

const [base, victim, pictures] = process.argv.slice(2);
const origin = new URL(base).origin;

walk(async () => {
  const { told, open, sound, close } = await launch(origin);
  Object.assign(told, { panels: [], weight: 0, shots: [] });
  const text = (page, of) => page.locator(of).first().innerText();

  // The weight: what a browser that has nothing yet takes over the wire, scripts of all panels included.
  const page = await open();
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('Network.enable');
  const kinds = new Map();
  devtools.on('Network.responseReceived', (e) => kinds.set(e.requestId, e.response.url));
  devtools.on('Network.loadingFinished', (e) => {
    const path = new URL(kinds.get(e.requestId) ?? base).pathname;
    if (path === '/' || path.startsWith('/eyes/')) told.weight += e.encodedDataLength;
  });
  await page.goto(base);
  await until('numbers', async () => /^\d/.test(await text(page, '.numbers .rate dd')));
  await devtools.detach();
  assert.match(await text(page, 'h1'), /^order$/);
  assert.match(await text(page, '.pill'), /ready/);

  // Every panel, light and dark, narrow and wide: something is there, nothing is too wide, axe has nothing to say.
  const filled = {
    topology: '.graph .node', live: '.tail tbody tr', journey: 'tbody tr', spool: '.spool .empty:visible, .spool .facts:visible', services: 'tbody tr', limits: 'tbody tr',
    sinks: 'tbody tr', config: 'tbody tr', explain: 'form', check: '.checks li',
  };
  const ids = await page.locator('#nav a').evaluateAll((all) => all.map((a) => new URL(a.href).searchParams.get('panel')));
  assert.deepStrictEqual(ids, Object.keys(filled));
  for (const colorScheme of ['light', 'dark']) {
    for (const width of [1280, 320]) {
      const page = await open({ colorScheme, viewport: { width, height: width < 500 ? 900 : 800 } });
      await page.goto(base);
      for (const id of ids) {
        await page.click(`#nav a[href="/?panel=${id}"]`);
        await page.waitForSelector(filled[id]);
        const panel = () => page.evaluate(() => ({ at: location.search, over: document.documentElement.scrollWidth - innerWidth }));
        assert.deepStrictEqual(await panel(), { at: `?panel=${id}`, over: 0 }, `${id} at ${width}`);
        if (id === 'topology') await until('five services', async () => (await page.locator('.graph .node').count()) >= 6);
        if (id === 'explain') {
          await page.fill('[name=path]', '/PlaceOrder');
          await page.fill('[name=headers]', 'apikey: key-of-the-web-shop');
          await page.click('.explain form button');
          await until('an explanation', async () => /it is served/.test(await text(page, '.verdict')));
          assert(!page.url().includes('key-of'), 'header lines stand in no address');
        }
        if (width === 1280) await sound(page, `${id}, ${colorScheme}`);
        if (colorScheme === 'light' && width === 1280) told.panels.push(id);
      }
      await page.context().close();
    }
  }
  const wide = await open({ viewport: { width: 1920, height: 1080 } });
  await wide.goto(base);
  await wide.waitForSelector('.graph .node');
  assert.strictEqual(await wide.evaluate(() => document.documentElement.scrollWidth - innerWidth), 0, 'at 1920');
  await wide.context().close();

  // One order through five services: from the tail by a click. One that has just ended may have ends that are still on
  // their way, and of too many not all are kept, so another one is tried.
  const names = (page) => page.locator('.sequence .name').allTextContents();
  const follow = (page) => until('an order through five services', async () => {
    await page.goto(`${base}?panel=live&command=PlaceOrder&result=success&consumer=web-shop`);
    await page.locator('.tail tbody a').first().click();
    await page.waitForSelector('.sequence');
    const wanted = ['web-shop', 'order', 'stock', 'payment', 'invoice', 'mail'];
    const shown = (wanted) => {
      const all = [...document.querySelectorAll('.sequence .name')].map((name) => name.textContent);
      return wanted.every((name) => all.includes(name));
    };
    const ok = await page.waitForFunction(shown, wanted, { timeout: 5000 }).then(() => true, () => false);
    return { ok, all: await names(page) };
  });
  await follow(page);
  told.journey = await names(page);
  const hops = page.locator('section:has(h2:text-is("Hops")) tbody tr');
  assert.strictEqual(await hops.count(), 5);
  assert.match(await hops.nth(1).innerText(), /order → stock[\s\S]*ReserveStock[\s\S]*ms[\s\S]*http:/);
  await sound(page, 'one journey');

  // The tail: the server filters, the filter stands in the address, a pause holds it, a mistake is named.
  await page.goto(`${base}?panel=live`);
  await page.fill('[name=tag]', 'shop=berlin');
  await page.selectOption('[name=result]', 'failed');
  await page.waitForURL(/result=failed/);
  await page.reload();
  const rows = page.locator('.tail tbody tr');
  await until('some that failed in berlin', async () => (await rows.count()) >= 3);
  for (const row of await rows.allInnerTexts()) assert.match(row, /[■▲][\s\S]*shop=berlin/);
  told.tail = await text(page, '.summary');
  assert.match(told.tail, /^\d+ shown, \d+ skipped/);
  await page.locator('body').press('p');
  await until('paused', async () => /paused/.test(await text(page, '.summary')));
  const held = await text(page, '.summary');
  // Another tail of the same goes on meanwhile.
  const other = await open();
  await other.goto(page.url());
  await until('more of them', async () => (await other.locator('.tail tbody tr').count()) >= 3);
  await other.context().close();
  assert.strictEqual(await text(page, '.summary'), held, 'a pause holds');
  await page.locator('body').press('p');
  await until('going on', async () => (await rows.count()) > 0 && !/paused/.test(await text(page, '.summary')));
  const quiet = told.console.length;
  await page.goto(`${base}?panel=live&min-latency=soon`);
  await until('what is wrong', async () => /min-latency: write milliseconds/.test(await text(page, '.note.bad')));
  // The browser itself tells of the 400s that were meant.
  const meant = told.console.splice(quiet);
  assert(meant.every((line) => line.includes('400')), meant.join('\n'));
  await page.goto(`${base}?panel=live`);
  await until('more than an eye can follow is skipped, and said', async () => /[1-9][\d,]* skipped/.test(await text(page, '.summary')));

  // By keyboard: a digit, the filter, the theme that stays.
  await page.locator('body').press('8');
  await page.waitForURL(/panel=config/);
  await page.locator('body').press('/');
  await page.keyboard.type('admin.listen');
  await page.keyboard.press('Enter');
  await until('one value', async () => (await page.locator('tbody tr').count()) === 1);
  assert.match(await text(page, 'tbody tr'), /admin\.listen[\s\S]*127\.0\.0\.1:\d+[\s\S]*order\.yaml:\d+/);
  await page.locator('h1').click();
  await page.locator('body').press('t');
  assert.strictEqual(await page.evaluate(() => document.documentElement.dataset.theme), 'dark');
  await page.reload();
  assert.strictEqual(await page.evaluate(() => document.documentElement.dataset.theme), 'dark');
  // A change: the file is read again.
  await page.goto(`${base}?panel=config`);
  await page.click('text=Read the file again');
  await until('a reload', async () => /the new configuration is in place/.test(await text(page, '.report')));

  if (pictures !== '-') {
    for (const colorScheme of ['light', 'dark']) {
      for (const [width, height] of [[1280, 800], [320, 900]]) {
        const page = await open({ colorScheme, viewport: { width, height } });
        for (const name of ['topology', 'journey']) {
          if (name === 'journey') await follow(page);
          else {
            await page.goto(base);
            // Rates of the last seconds, and a curve that says something.
            const drawn = () => document.querySelector('.curve .line')?.getAttribute('d').split('L').length > 10;
            await page.waitForFunction(drawn, null, { timeout: 60000 });
          }
          const path = `${pictures}/${name}-${colorScheme}-${width}.png`;
          await page.screenshot({ path });
          told.shots.push([path, fs.statSync(path).size]);
        }
        await page.context().close();
      }
    }
  }

  // A worker dies: who looks sees it, in the drawing and in the registry.
  process.kill(Number(victim), 'SIGKILL');
  await page.goto(base);
  await until('payment is not ready', async () => /payment: not ready/.test(await page.locator('[data-node=payment] title').textContent()));
  await page.goto(`${base}?panel=services`);
  const payment = page.locator('section:has(h2:text-is("Registry")) tbody tr', { hasText: 'payment' });
  await until('payment is critical', async () => /critical[\s\S]*http[\s\S]*503/.test(await payment.first().innerText()));
  told.registry = (await text(page, 'section:has(h2:text-is("Registry")) .summary'));

  // Without a script: the same numbers, and the page comes again by itself.
  const plain = await open({ javaScriptEnabled: false });
  await plain.goto(base);
  assert.match(await plain.locator('main').innerText(), /PlaceOrder[\s\S]*graylog/);
  assert.match(await plain.content(), /http-equiv="refresh"/);

  await close();
  console.log(JSON.stringify(told));
});
