// The front page in a real Chromium: see scripts/browser, which starts everything.
//
//   node browser.mjs DRIVER CHROMIUM URL [FOLDER-FOR-SCREENSHOTS]
import assert from 'node:assert/strict';
import { pathToFileURL } from 'node:url';

const [driver, executablePath, base, screenshots] = process.argv.slice(2);
const { chromium } = await import(pathToFileURL(`${driver}/index.mjs`));
// Chromium's sandbox refuses root.
const args = process.getuid() === 0 ? ['--no-sandbox'] : [];
const browser = await chromium.launch({ executablePath, args });

let passed = 0;
let failed = 0;

// Each in a browser of its own, so to speak: no cookies, nothing kept. What the page complains of is a failure.
async function check(sentence, story, options = {}) {
  const context = await browser.newContext({ baseURL: base, viewport: { width: 1200, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  const complaints = [];
  page.on('console', (message) => { if (message.type() === 'error') complaints.push(message.text()); });
  page.on('pageerror', (error) => complaints.push(String(error)));
  try {
    await story(page, context, complaints);
    assert.deepEqual(complaints, [], 'the page complains');
    passed += 1;
    console.log(`  ok      ${sentence}`);
  } catch (error) {
    failed += 1;
    console.log(`  FAILED  ${sentence}\n          ${String(error.stack).split('\n').slice(0, 8).join('\n          ')}`);
  }
  await context.close();
}

const WITHOUT_SCRIPTS = { javaScriptEnabled: false };
const headlines = (page) => page.locator('#news .news h2').allTextContents();
const lines = (page) => page.locator('#requests li').allTextContents();

// The strip's line for a request, once it stands there.
async function line(page, text) {
  const found = page.locator('#requests li', { hasText: text }).first();
  await found.waitFor();
  return found.innerText();
}

async function signUp(page, name) {
  await page.goto('/account');
  await page.getByLabel('E-mail').last().fill(`${name}@example.org`);
  await page.getByLabel('Name').fill(name);
  await page.getByLabel('Password').last().fill('correct horse');
  await page.getByRole('button', { name: 'Sign up' }).click();
  await page.getByText('Signed in as').waitFor();
}

// Before anything else is on the board.
if (screenshots) {
  for (const text of ['The repair café is looking for a 3D printer.', 'We have one to spare.']) {
    const headers = { 'content-type': 'application/json' };
    await fetch(`${base}/messages`, { method: 'POST', headers, body: JSON.stringify({ text }) });
  }
  for (const colorScheme of ['light', 'dark']) {
    await check(`docs/front-page-${colorScheme}.png`, async (page) => {
      // The second time it comes from the cache.
      for (const _ of [1, 2]) {
        await page.goto('/?category=technology');
        await page.getByText(/\d+ page views/).waitFor();
      }
      await page.screenshot({ path: `${screenshots}/front-page-${colorScheme}.png`, fullPage: true });
    }, { colorScheme, viewport: { width: 1100, height: 800 } });
  }
}

for (const [how, options] of [['with scripts', {}], ['without scripts', WITHOUT_SCRIPTS]]) {
  await check(`headlines have a source, a time and a link, ${how}`, async (page) => {
    await page.goto('/');
    assert.equal((await headlines(page)).length, 20);
    const first = page.locator('#news article').first();
    assert.match(await first.locator('time').getAttribute('datetime'), /^\d{4}-\d\d-\d\dT/);
    assert.notEqual(await first.locator('.meta span').first().innerText(), '');
    assert.match(await first.locator('h2 a').getAttribute('href'), /^https?:/);
  }, options);

  await check(`language and tone narrow the news, ${how}`, async (page) => {
    await page.goto('/');
    await page.getByLabel('Language').selectOption('en');
    await page.getByLabel('Tone').selectOption('negative');
    await page.getByRole('button', { name: 'Show' }).click();
    await page.waitForURL(/[?&]language=en&sentiment=negative/);
    await page.locator('#news .tone').first().waitFor();
    for (const tone of await page.locator('#news .tone').allTextContents()) assert.equal(tone, 'negative');
    assert.equal(await page.locator('#news .tone').count(), (await headlines(page)).length);
    assert.equal(await page.getByLabel('Language').inputValue(), 'en');
    assert.equal(await page.getByLabel('Tone').inputValue(), 'negative');
  }, options);

  await check(`a category narrows the news, and pages lead on to all of it, ${how}`, async (page) => {
    await page.goto('/');
    const all = new Set();
    for (let pages = 0; pages < 9; pages += 1) {
      for (const text of await headlines(page)) all.add(text);
      const older = page.getByRole('link', { name: 'Older', exact: true });
      if (await older.count() === 0) break;
      const before = (await headlines(page))[0];
      await older.click();
      await page.waitForFunction((text) => document.querySelector('#news h2')?.textContent !== text, before).catch(async (error) => {
        if (options.javaScriptEnabled !== false) throw error;
        await page.waitForLoadState();
      });
    }
    assert.ok(all.size > 20, `${all.size} articles`);
    await page.getByRole('link', { name: 'Newest' }).click();
    await page.getByLabel('Category').selectOption('science');
    await page.getByRole('button', { name: 'Show' }).click();
    await page.getByRole('heading', { name: 'News in science' }).waitFor();
    assert.match(page.url(), /[?&]category=science/);
    for (const article of await page.locator('#news article').all()) {
      assert.ok((await article.locator('.category').allTextContents()).includes('science'));
    }
  }, options);

  await check(`a search finds by the words of an article, ${how}`, async (page) => {
    await page.goto('/');
    const title = (await headlines(page))[3];
    await page.getByLabel('Search').fill(title);
    await page.getByRole('button', { name: 'Show' }).click();
    await page.getByRole('heading', { level: 1, name: 'News about' }).waitFor();
    assert.ok((await headlines(page)).includes(title));
  }, options);

  await check(`a message stands on the page at once, though the page comes from the cache, ${how}`, async (page) => {
    const text = `Hello ${how} <b>&amp;`;
    await page.goto('/');
    await page.goto('/');
    await page.getByLabel('Message').fill(text);
    await page.getByLabel('Name').fill('Ada');
    await page.getByRole('button', { name: 'Post' }).click();
    await page.locator('#board .text', { hasText: text }).waitFor();
    assert.equal(await page.locator('#board .text').first().innerText(), text);
    await page.goto('/board');
    assert.equal(await page.locator('#board .text').first().innerText(), text);
  }, options);

  await check(`one signs up, out and in again, and leaves, ${how}`, async (page) => {
    const name = how.replace(' ', '-');
    await signUp(page, name);
    await page.getByLabel('Muted words').fill('bus\nbuses');
    await page.getByLabel('sports').check();
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByLabel('sports').waitFor();
    assert.ok(await page.getByLabel('sports').isChecked());
    assert.equal(await page.getByLabel('Muted words').inputValue(), 'bus\nbuses');
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.goto('/account');
    await page.getByLabel('E-mail').first().fill(`${name}@example.org`);
    await page.getByLabel('Password').first().fill('correct horse');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByText('Signed in as').waitFor();
    await page.getByLabel('I am sure').check();
    await page.getByRole('button', { name: 'Delete' }).click();
    await page.getByRole('heading', { name: 'News', exact: true }).waitFor();
    await page.goto('/account');
    assert.equal(await page.getByText('Signed in as').count(), 0);
  }, options);
}

await check('a form that fails is answered by a page', async (page, context, complaints) => {
  await page.goto('/account');
  await page.getByLabel('E-mail').first().fill('nobody@example.org');
  await page.getByLabel('Password').first().fill('wrong horse');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('heading', { name: 'Unauthorized' }).waitFor();
  await page.getByText('This address and this password do not belong together.').waitFor();
  assert.equal(complaints.length, 1, 'the browser tells of the 401');
  complaints.length = 0;
}, WITHOUT_SCRIPTS);

await check('the strip tells a miss from a hit, with age and time', async (page) => {
  await page.goto('/');
  await line(page, '/account/menu');
  await page.getByLabel('Category').selectOption('health');
  await page.getByRole('button', { name: 'Show' }).click();
  const first = await line(page, '/?category=health');
  assert.match(first, /GET\s+\/\?category=health\s+MISS\s+[\d.]+ ms/);
  await page.goto('/');
  await page.getByLabel('Category').selectOption('health');
  await page.getByRole('button', { name: 'Show' }).click();
  assert.match(await line(page, '/?category=health'), /GET\s+\/\?category=health\s+HIT\s+age \d+ s\s+[\d.]+ ms/);
  assert.match(await line(page, '/views'), /POST\s+\/views\s+BYPASS/);
  assert.doesNotMatch(await line(page, '/account/menu'), /HIT/);
});

await check('a post voids the page in the cache, and the strip shows it', async (page) => {
  await page.goto('/');
  await line(page, '/account/menu');
  await page.getByLabel('Message').fill('Seen by the strip');
  await page.getByRole('button', { name: 'Post' }).click();
  await page.getByText('Posted.').waitFor();
  const all = await lines(page);
  const post = all.findIndex((text) => /^POST\/messages/.test(text));
  assert.match(all[post], /BYPASS/);
  assert.match(all[post - 1], /^GET\/.*MISS/);
});

await check('views are counted and shown', async (page) => {
  await page.goto('/');
  await page.getByText(/\d+ page views/).waitFor();
});

await check('the shared page is the same for those who are signed in; the menu is their own', async (page, context) => {
  const shared = async () => (await context.request.get('/')).text();
  await page.goto('/');
  const before = await shared();
  await signUp(page, 'grace');
  await page.goto('/');
  await page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: 'grace' }).waitFor();
  const answer = await context.request.get('/');
  assert.equal(await answer.text(), before);
  assert.equal(answer.headers()['x-cache'], 'HIT');
  await page.getByLabel('Message').fill('By the account');
  await page.getByLabel('Name').fill('Somebody else');
  await page.getByRole('button', { name: 'Post' }).click();
  await page.getByText('Posted.').waitFor();
  assert.match(await page.locator('#board .messages li').first().innerText(), /^grace\s+signed in/);
});

for (const [scheme, other] of [['light', 'Dark'], ['dark', 'Light']]) {
  await check(`${scheme} is followed where the system asks for it, can be changed, and stays changed`, async (page) => {
    const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    await page.goto('/');
    const first = await paper();
    await page.getByRole('button', { name: 'Change to' }).filter({ hasText: other }).click();
    const changed = await paper();
    assert.notEqual(changed, first);
    await page.reload();
    assert.equal(await paper(), changed);
  }, { colorScheme: scheme });
}

// WCAG 2.2, 1.4.3: the ratio of the luminances of text and of what is behind it.
const contrasts = () => {
  const channel = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const parts = (colour) => colour.match(/[\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => 0.2126 * channel(r / 255) + 0.7152 * channel(g / 255) + 0.0722 * channel(b / 255);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if ((parts(colour)[3] ?? 1) > 0) return parts(colour);
    }
    return [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const poor = [];
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    const [a, b] = [luminance(parts(getComputedStyle(element).color)), luminance(behind(element))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) poor.push(`${walker.currentNode.data.trim().slice(0, 40)}: ${((a + 0.05) / (b + 0.05)).toFixed(2)}`);
  }
  return poor;
};

for (const colorScheme of ['light', 'dark']) {
  await check(`landmarks, labels, headings and contrast are in order, ${colorScheme}`, async (page) => {
    for (const path of ['/', '/board', '/account']) {
      await page.goto(path);
      await page.getByText(/\d+ page views/).waitFor();
      for (const landmark of ['banner', 'main', 'contentinfo']) assert.equal(await page.getByRole(landmark).count(), 1, `${landmark} on ${path}`);
      assert.equal(await page.locator('h1').count(), 1, `one h1 on ${path}`);
      const nameless = await page.locator('input:not([type=hidden]), select, textarea').evaluateAll((fields) => fields.filter((field) => !field.labels.length).map((field) => field.name));
      assert.deepEqual(nameless, [], `labels on ${path}`);
      const ids = await page.locator('[id]').evaluateAll((elements) => elements.map((element) => element.id));
      assert.equal(new Set(ids).size, ids.length, `ids on ${path}`);
      assert.equal(await page.locator('html').getAttribute('lang'), 'en');
      assert.deepEqual(await page.evaluate(contrasts), [], `contrast on ${path}`);
    }
  }, { colorScheme });
}

await check('everything is reached by keyboard, and focus is seen', async (page) => {
  await page.goto('/');
  await line(page, '/status');
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Skip to the content');
  assert.ok((await page.locator('.skip').boundingBox()).x >= 0, 'the skip link shows');
  await page.keyboard.press('Enter');
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'q');
  const width = await page.evaluate(() => parseFloat(getComputedStyle(document.activeElement).outlineWidth));
  assert.ok(width >= 2, 'focus has an outline');
  for (const id of ['category', 'source', 'language', 'sentiment']) {
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate(() => document.activeElement.id), id);
  }
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.activeElement.id === 'news-title');
});

await check('on a narrow screen nothing is wider than the screen', async (page) => {
  for (const path of ['/', '/board', '/account']) {
    await page.goto(path);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), path);
  }
}, { viewport: { width: 320, height: 640 } });

await check('nothing inline and nothing from elsewhere would run', async (page, context, complaints) => {
  const answer = await page.goto('/');
  assert.match(answer.headers()['content-security-policy'], /^default-src 'none';/);
  assert.doesNotMatch(answer.headers()['content-security-policy'], /unsafe|\*/);
  await page.evaluate(() => {
    const script = document.createElement('script');
    script.textContent = 'window.ran = true';
    document.body.append(script);
  });
  assert.equal(await page.evaluate(() => window.ran), undefined);
  assert.equal(complaints.length, 1, 'the browser tells of what it refused');
  complaints.length = 0;
});

await browser.close();
console.log(`browser: ${passed} passed, ${failed} failed`);
process.exitCode = failed ? 1 : 0;
