/** Draws icon.png (256 x 256, what the marketplace and the extensions view show) from icon.svg: `node make-icon.mjs`. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const folder = import.meta.dirname;
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox'],
});
const page = await browser.newPage({ viewport: { width: 256, height: 256 } });
const svg = readFileSync(join(folder, 'icon.svg'), 'utf8');
await page.setContent(`<style>body{margin:0}svg{display:block;width:256px;height:256px}</style>${svg}`);
await page.screenshot({ path: join(folder, 'icon.png'), omitBackground: true });
await browser.close();
