// The page in headless Chromium: node test/end_to_end.mjs FOLDER PACKAGE IMAGE...
//
// Serves dist/ on loopback, gives the page the package and each image, keeps what it offers in FOLDER with a picture of
// the page, and prints one line of JSON: what the page said of each file, requests, console errors. The files lie in
// FOLDER. CHROMIUM names the browser.
import { createServer } from 'node:http';
import { existsSync, readFileSync, renameSync } from 'node:fs';
import { extname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import puppeteer from 'puppeteer-core';

const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript', '.css': 'text/css', '.wasm': 'application/wasm' };
const folder = resolve(process.argv[2]);
const [archive, ...images] = process.argv.slice(3);
const dist = new URL('../dist/', import.meta.url).pathname;

const server = createServer((request, response) => {
  const path = join(dist, request.url === '/' ? 'index.html' : request.url);
  if (!existsSync(path)) return response.writeHead(404).end();
  response.writeHead(200, { 'content-type': TYPES[extname(path)] }).end(readFileSync(path));
});
await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
const home = `http://127.0.0.1:${server.address().port}/`;

/** In the page: a file dropped on it. */
function drop(name, base64) {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], name));
  document.body.dispatchEvent(new DragEvent('drop', { bubbles: true, cancelable: true, dataTransfer }));
}

const browser = await puppeteer.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] });
try {
  const page = await browser.newPage();
  const [errors, requests] = [[], []];
  page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
  page.on('pageerror', (error) => errors.push(error.message));
  page.on('request', (request) => requests.push([request.method(), request.url().replace(home, '/')]));
  const session = await page.createCDPSession();
  await session.send('Browser.setDownloadBehavior', { behavior: 'allow', downloadPath: folder });
  await page.setViewport({ width: 1200, height: 900 });
  await page.goto(home);

  const said = {};
  const given = async (name) => {
    await page.waitForFunction(() => !/^(Opening|Denoising) /.test(document.querySelector('#status').textContent), { timeout: 120000 });
    said[name] = await page.$eval('#status', (status) => status.textContent);
  };
  await (await page.$('#package')).uploadFile(join(folder, archive));
  await given(archive);
  for (const name of images) {
    await page.evaluate(drop, name, readFileSync(join(folder, name), 'base64'));
    await given(name);
    if (!said[name].includes('denoised in')) continue;
    const offered = join(folder, await page.$eval('#download', (link) => link.download));
    await page.click('#download');
    for (let i = 0; i < 100 && !existsSync(offered); i++) await sleep(100);
    renameSync(offered, join(folder, `${name}.denoised.tif`));
  }
  await page.screenshot({ path: join(folder, 'page.png'), fullPage: true });
  await page.setViewport({ width: 400, height: 800 });
  const tooWide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  console.log(JSON.stringify({ said, requests, errors, tooWide }));
} finally {
  await browser.close();
  server.close();
}
