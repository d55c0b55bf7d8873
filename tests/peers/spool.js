// The page's panel of stored commands, by those who have to do with them at night.
// Arguments: the page's address, that of the same store's listener of commands, the worker's, the page of a Fourmi whose
// admin listener is read-only, a folder for pictures or `-`.
const assert = require('assert');
const { launch, until, walk } = require('./browser');

const [base, commands, worker, fixed, pictures] = process.argv.slice(2);

walk(async () => {
  const { told, open, sound, close } = await launch(new URL(base).origin, new URL(fixed).origin);
  const page = await open();
  const at = (query) => page.goto(`${base}?panel=spool&${query}`);
  const text = (of, on = page) => on.locator(of).first().innerText();
  const fact = (name, on = page) => text(`.facts div:has(dt:text-is("${name}")) dd`, on);
  const rows = () => page.locator('.spool .stack > div tbody tr:has(a)');
  const report = (what) => until(`${what} is said`, async () => what.test(await text('.report')) || (await text('.report')));
  const picture = async (on, name) => {
    if (pictures !== '-') await on.screenshot({ path: `${pictures}/spool-${name}.png` });
  };

  // How much there is, and that something was given up, from any panel.
  await page.goto(base);
  await until('the navigation says it', async () => /4 dead/.test(await text('#nav a[href="/?panel=spool"]')));
  // When they have passed: that is said, and of nothing there is no share.
  await until('nothing passes any more', async () => (await text('#top .rate dd')) === '0');
  assert.strictEqual(await text('#top .success dd'), '–');
  assert.strictEqual(await text('section:has(h2:text-is("Edges")) .empty:visible'), 'No command passes just now.');
  await page.click('#nav a[href="/?panel=spool"]');
  await until('four are dead', async () => (await fact('dead')) === '4');
  assert.strictEqual(await fact('scheduled'), '1');
  assert.match(await fact('file'), /^\d.* of 1\.0 GiB$/);
  assert.match(await text('.spool .table'), /order\s+in\s+0\s+0\s+0\s+1\s+4\s+●\s*on/);

  // One of them: the filter stands in the address; every attempt is told, with its error and the last answer.
  await page.click('.tabs a[data-tab=dead]');
  await until('all four', async () => (await rows().count()) === 4);
  await page.fill('[name=tag]', 'shop=berlin');
  await page.keyboard.press('Enter');
  await page.waitForURL(/tag=shop%3Dberlin/);
  await page.reload();
  await until('one of them', async () => (await rows().count()) === 1);
  assert.match(await rows().innerText(), /Charge[\s\S]*order-17[\s\S]*■\s*dead[\s\S]*2[\s\S]*500/);
  await page.click('.spool tbody a');
  await page.waitForSelector('.timeline li');
  const line = () => page.locator('.timeline li').allInnerTexts();
  const failed = await line();
  assert.match(failed[0], /ready/);
  assert.match(failed.join('\n'), /retrying attempt 1[\s\S]*500[\s\S]*dead attempt 2[\s\S]*500/);
  assert.match(await text('.block'), /out of order/);
  await page.click('text=Show what is sent');
  await until('the request', async () => /POST \/pay[\s\S]*"amount":5/.test((await page.locator('.block').allInnerTexts()).join('\n')));
  const dead = page.url();

  // Light and dark, wide and narrow: nothing is too wide, axe has nothing to say.
  for (const colorScheme of ['light', 'dark']) {
    for (const width of [1280, 320]) {
      const page = await open({ colorScheme, viewport: { width, height: 900 } });
      for (const [name, to, ready] of [['list', `${base}?panel=spool&tab=dead`, '.stack > div tbody a'], ['one', dead, '.timeline li']]) {
        await page.goto(to);
        await page.waitForSelector(ready);
        await until('numbers', async () => (await fact('dead', page)) === '4');
        assert.strictEqual(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), 0, `${name} at ${width}`);
        await sound(page, `${name}, ${colorScheme}, ${width}`);
        await picture(page, `${name}-${colorScheme}-${width}`);
      }
      await page.click('text=Discard…');
      await page.waitForSelector('dialog[open]');
      await sound(page, `the question, ${colorScheme}, ${width}`);
      await picture(page, `sure-${colorScheme}-${width}`);
      await page.context().close();
    }
  }

  // The worker is well again: one is sent once more, and succeeds.
  assert.strictEqual((await fetch(`${worker}/well`, { method: 'POST' })).status, 200);
  await page.click('.verbs >> text=Retry');
  await until('it succeeds', async () => /succeeded/.test(await fact('state')) || (await fact('state')));
  const again = await line();
  assert.match(again.join('\n'), /again by hand[\s\S]*succeeded/);
  assert.match(await text('.block'), /done/);
  assert.strictEqual(await page.locator('.verbs >> text=Retry').count(), 0, 'what succeeded is not sent again');
  told.history = again.map((one) => one.replace(/\s+/g, ' '));
  await page.click('text=its journey');
  await until('its attempts apart', async () => {
    const said = (await page.locator('.sequence .said').allTextContents()).join('\n');
    return /Charge · attempt 1[\s\S]*Charge · attempt 2[\s\S]*Charge · attempt 3/.test(said) || said;
  });
  assert.deepStrictEqual(await page.locator('.sequence .name').allTextContents(), ['caller', 'order\'s spool', 'order']);
  assert.match(await fact('in the end'), /success/);
  await sound(page, 'the journey of a stored command');
  await picture(page, 'journey');

  // Many: first how many it would be; who says no changes nothing.
  await at('tab=dead&name=Re*');
  await until('three', async () => (await rows().count()) === 3);
  await page.click('text=Retry these…');
  await page.waitForSelector('dialog[open]');
  assert.match(await text('dialog'), /3 stored commands \(dead, unknown; name Re\*\)/);
  await page.click('text=Leave as it is');
  await page.waitForSelector('dialog', { state: 'detached' });
  assert.strictEqual(await fact('dead'), '3');
  await page.click('text=Retry these…');
  await page.click('dialog .yes');
  await report(/^3 retried\.$/);
  await until('none is dead', async () => (await fact('dead')) === '0');

  // What waits for its time is taken back and forgotten, for which a word has to be typed.
  await at('tab=scheduled');
  await page.click('.spool tbody a');
  await page.click('text=Cancel…');
  await page.keyboard.press('Escape');
  await page.waitForSelector('dialog', { state: 'detached' });
  await page.click('text=Cancel…');
  await page.click('dialog .yes');
  await until('it is cancelled', async () => /cancelled/.test(await fact('state')));
  await page.click('text=Discard…');
  await page.fill('[name=typed]', 'yes');
  assert(await page.locator('dialog .yes').isDisabled(), 'any word');
  await page.fill('[name=typed]', 'discard');
  await page.click('dialog .yes');
  await page.waitForURL((url) => !url.searchParams.has('seq'));
  await at('tab=ended&name=Remind');
  await until('it is forgotten', async () => /None of them fits/.test(await text('.spool .empty:visible')));

  // A service is held, and goes on.
  await page.click('.spool .table button:text-is("Pause")');
  await report(/^order is paused\.$/);
  const headers = { 'Fourmi-Command': 'Late', 'Fourmi-Id': 'late-1', Prefer: 'respond-async' };
  assert.strictEqual((await fetch(`${commands}/pay`, { method: 'POST', headers, body: '{}' })).status, 202);
  await page.click('text=Clear');
  await page.click('.tabs a[data-tab=queued]');
  await until('it is queued', async () => /Late[\s\S]*late-1[\s\S]*ready/.test((await rows().allInnerTexts()).join('')));
  assert.match(await text('.spool .note:has-text("paused")'), /inbound order/);
  await page.click('.spool .table button:text-is("Resume")');
  await until('nothing waits', async () => (await rows().count()) === 0);
  await page.click('.tabs a[data-tab=ended]');
  await page.fill('[name=id]', 'late-1');
  await page.keyboard.press('Enter');
  await until('it is done', async () => /late-1[\s\S]*succeeded/.test((await rows().allInnerTexts()).join('')));
  // By keyboard.
  await page.locator('h1').click();
  await page.locator('body').press('0');
  await page.waitForURL(/panel=check/);
  await page.locator('body').press('4');
  await page.waitForURL(/panel=spool/);

  // Where nothing may be changed there is nothing to press.
  const shown = await open();
  await shown.goto(`${fixed}?panel=spool`);
  await until('numbers', async () => (await fact('waiting', shown)) === '0');
  assert.deepStrictEqual(await shown.locator('.spool button:visible').allInnerTexts(), ['Filter']);

  await close();
  console.log(JSON.stringify(told));
});
