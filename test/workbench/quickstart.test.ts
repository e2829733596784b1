import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { PlotOutput as SavedPlot } from '../../kernel/protocol/plot.ts';
import { PLOT_MIME } from '../../kernel/protocol/plot-mime.ts';
import { noBrowser } from '../chromium.ts';
import { Workbench } from './workbench.ts';

/** One reader's way through the quickstart: each test goes on where the one before it has left the window. */
describe('the quickstart in the real workbench', { skip: noBrowser }, () => {
  let workbench: Workbench;

  before(async () => {
    workbench = await Workbench.open();
  });
  after(() => workbench.close());

  test('the notebook opens with our kernel chosen, and nothing has been started', async () => {
    const { page } = workbench;
    await workbench.openFile('quickstart.ipynb');
    await page.locator('.notebookOverlay').waitFor();
    await page.locator('.notebook-toolbar-container').getByText('GPT Lab (TypeScript)').waitFor();
    assert.equal(workbench.daemonPid(), undefined);
  });

  test('Run All trains, and the chart under the cell grows', async () => {
    await workbench.page.getByRole('button', { name: 'Run All' }).first().click();
    const run = await workbench.runs('quickstart');
    await run.waitFor();
    await run.click();
    const plot = await workbench.plot();
    await plot.reaches(5);
    const before = { facts: await plot.facts(), pixels: await plot.pixels() };
    assert.equal(before.facts.state, 'running');
    await plot.reaches(before.facts.lastStep + 10);
    const later = await plot.facts();
    assert.equal(later.points, later.lastStep, 'every step is a point');
    assert.notEqual(await plot.pixels(), before.pixels);
  });

  test('a reload of the window does not touch the run, and the chart catches up without a gap', async () => {
    const before = await (await workbench.plot()).facts();
    const daemon = workbench.daemonPid();
    await workbench.reload();
    const plot = await workbench.plot();
    await plot.reaches(before.lastStep + 10);
    const after = await plot.facts();
    assert.equal(after.state, 'running');
    assert.equal(after.points, after.lastStep, 'no step is missing');
    assert.equal(workbench.daemonPid(), daemon);
  });

  test('killing VS Code does not touch the run either', async () => {
    const { lastStep } = await (await workbench.plot()).facts();
    const daemon = workbench.daemonPid();
    await workbench.killAndReopen();
    assert.equal(workbench.daemonPid(), daemon);
    await workbench.openFile('quickstart.ipynb');
    const run = await workbench.runs('quickstart');
    await run.click();
    const plot = await workbench.plot();
    await plot.reaches(lastStep + 10);
    const after = await plot.facts();
    assert.equal(after.state, 'running');
    assert.equal(after.points, after.lastStep, 'no step is missing');
  });

  test('the run is stopped from the Runs view', async () => {
    const run = await workbench.runs('quickstart');
    await run.hover();
    await run.getByRole('button', { name: 'Stop Run' }).click();
    await (await workbench.plot()).becomes('stopped');
    await workbench.page
      .locator('.sidebar')
      .getByRole('treeitem', { name: /^quickstart, stopped/ })
      .waitFor();
  });

  test('the saved notebook holds the curve, for us and as a picture for everybody', async () => {
    const { lastStep } = await (await workbench.plot()).facts();
    const saved = await workbench.savedPlot('quickstart.ipynb');
    const plot = saved[PLOT_MIME] as SavedPlot;
    assert.equal(plot.snapshot?.state, 'stopped');
    assert.deepEqual(
      plot.snapshot.train.step,
      Array.from({ length: lastStep }, (_, index) => index + 1),
    );
    assert.match(([saved['image/svg+xml']].flat() as string[]).join(''), /^<svg[^]*<\/svg>\s*$/);
  });

  test('nothing in our extension has failed on the way', async () => {
    assert.deepEqual(await workbench.errors(), []);
  });
});
