/**
 * Makes the pictures of the documentation from the real workbench: `npm run screenshots`, after a build. Not a test: it
 * trains the quickstart to its end.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Workbench } from './workbench.ts';

const target = join(import.meta.dirname, '..', '..', 'docs', 'images');
/** Themes and the classes of windows that have them. */
const themes = [
  ['light', 'vs'],
  ['dark', 'vs-dark'],
] as const;
/** Window sizes: a desktop's, and a narrow one with the side bar closed. */
const sizes = { '': { width: 1400, height: 900 }, '-narrow': { width: 560, height: 900 } } as const;

await mkdir(target, { recursive: true });
const workbench = await Workbench.open();
try {
  const { page } = workbench;

  const pictures = async (name: string): Promise<void> => {
    for (const [theme, body] of themes) {
      if ((await page.locator(`.monaco-workbench.${body}`).count()) === 0)
        await workbench.command('Preferences: Toggle between Light/Dark Themes');
      await page.locator(`.monaco-workbench.${body}`).waitFor();
      for (const [suffix, size] of Object.entries(sizes)) {
        await page.setViewportSize(size);
        await workbench.settle();
        await page.screenshot({ path: join(target, `${name}-${theme}${suffix}.png`) });
      }
      await page.setViewportSize(sizes['']);
    }
  };

  await workbench.openFile('quickstart.ipynb');
  await page.getByRole('button', { name: 'Run All' }).first().click();
  const run = await workbench.runs('quickstart');
  await run.click();
  const plot = await workbench.plot();
  await plot.reaches(60);
  await pictures('training');
  await plot.becomes('finished', 600_000);
  await pictures('finished');
  await workbench.command('Notebook: Focus Last Cell');
  await pictures('sample');
} finally {
  await workbench.close();
}
