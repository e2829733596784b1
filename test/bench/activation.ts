/**
 * How long VS Code takes to load and activate the extension, as its own view "Running Extensions" tells: median of new
 * windows, VS Code's own extensions beside it. `node test/bench/activation.ts [WINDOWS]`, after a build.
 */
import { Workbench } from '../workbench/workbench.ts';

const windows = Number(process.argv[2] ?? 5);
const times = new Map<string, number[]>();

const workbench = await Workbench.open();
try {
  for (let round = 0; round < windows; round++) {
    if (round > 0) await workbench.killAndReopen();
    await workbench.openFile('quickstart.ipynb');
    await workbench.page.locator('.notebookOverlay').waitFor();
    await workbench.command('Developer: Show Running Extensions');
    const rows = workbench.page.locator('.runtime-extensions-editor .extension');
    await rows.first().waitFor();
    for (const row of await rows.all()) {
      const name = await row.locator('.name').innerText();
      const milliseconds = Number(/(\d+)\s*ms/.exec(await row.locator('.activation-time').innerText())?.[1]);
      // An extension that is still being activated has no time yet.
      if (Number.isFinite(milliseconds)) times.set(name, [...(times.get(name) ?? []), milliseconds]);
    }
  }
} finally {
  await workbench.close();
}
for (const [name, each] of times) {
  const sorted = each.toSorted((a, b) => a - b);
  process.stdout.write(`${name}: median ${sorted[Math.floor(sorted.length / 2)]} ms of ${each.join(', ')}\n`);
}
