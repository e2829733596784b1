import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { noBrowser } from '../chromium.ts';
import { Workbench } from './workbench.ts';

/** A run of some ten steps a second that goes on until it is stopped. */
const TRAIN = (name: string, steps = 1_000_000): string => `import { train } from 'gpt-lab';
const run = await train({
  name: '${name}',
  model: { layers: 2, width: 128, heads: 4, contextLength: 128 },
  data: { text: ['data/moby-dick.txt'], tokenizer: 'byte' },
  training: { steps: ${steps}, batchSize: 4, sequenceLength: 128, evaluateEvery: 0, checkpointEvery: 20 },
  engine: { threads: 1 },
});
`;

/** Cells as they are run by hand: all in one window, each test with a notebook and so a kernel of its own. */
describe('cells in the real workbench', { skip: noBrowser }, () => {
  let workbench: Workbench;

  before(async () => {
    workbench = await Workbench.open({
      // In the browser VS Code would save by itself.
      settings: { 'gptLab.notifyAfterSeconds': 0, 'files.autoSave': 'off' },
    });
  });
  after(() => workbench.close());

  test('what a cell writes appears while it runs, an error says in which line', async () => {
    const notebook = await workbench.openNotebook('stream.ipynb', [
      // Ends when the test has seen the first line.
      `import { existsSync } from 'node:fs';
console.log('the first ' + 'line');
while (!existsSync('seen')) await new Promise((resolve) => setTimeout(resolve, 20));
console.log('the last ' + 'line');`,
      `const fine = 1;
function broken(): never { throw new RangeError('on purpose'); }
broken();`,
    ]);
    await notebook.run(0);
    await notebook.shows('the first line');
    await notebook.becomes(0, 'executing');
    await workbench.write('seen', '');
    await notebook.shows('the last line');
    await notebook.ends(0, 'success');
    await notebook.run(1);
    await notebook.ends(1, 'error');
    await notebook.shows('RangeError: on purpose');
    await notebook.shows(/In\[2\], line 2/);
  });

  test('an interrupt ends an endless loop and keeps variables, a restart forgets them', async () => {
    const notebook = await workbench.openNotebook('interrupt.ipynb', [
      "const kept = 'still ' + 'there';\nkept;",
      'while (true) {}',
      'kept;',
      'typeof kept;',
    ]);
    await notebook.run(0);
    await notebook.ends(0, 'success');
    await notebook.run(1);
    await notebook.becomes(1, 'executing');
    await workbench.command('Notebook: Interrupt');
    await notebook.ends(1, 'error');
    await notebook.run(2);
    await notebook.ends(2, 'success');
    await notebook.shows('still there');
    await workbench.command('GPT Lab: Restart Kernel');
    await workbench.logged(/interrupt\.ipynb restarted/);
    await notebook.run(3);
    await notebook.ends(3, 'success');
    await notebook.shows("'undefined'");
  });

  test('cells that are queued while the kernel restarts run in the new one', async () => {
    const notebook = await workbench.openNotebook('restart.ipynb', [
      "const before = 1;\nconsole.log('waits for ' + 'ever');\nawait new Promise(() => undefined);",
      "console.log('fresh: ' + typeof before);",
    ]);
    await notebook.run(0);
    await notebook.shows('waits for ever');
    await workbench.command('GPT Lab: Restart Kernel');
    await notebook.run(1);
    await notebook.ends(0, 'error');
    await notebook.ends(1, 'success');
    await notebook.shows('fresh: undefined');
  });

  test('the end of the kernel is told, in the cell and beside it, and the next cell runs', async () => {
    const notebook = await workbench.openNotebook('death.ipynb', [
      "process.kill(process.pid, 'SIGKILL');\nawait new Promise(() => undefined);",
      "process.kill(process.ppid, 'SIGKILL');\nawait new Promise(() => undefined);",
      "console.log('alive ' + 'again');",
    ]);
    await notebook.run(0);
    await notebook.ends(0, 'error');
    await notebook.shows(/The process of the cells was ended by signal SIGKILL/);
    await notebook.run(1);
    await notebook.ends(1, 'error');
    await notebook.shows(/The kernel has died: signal SIGKILL/);
    await workbench.notification('The kernel died: signal SIGKILL').waitFor();
    await notebook.run(2);
    await notebook.ends(2, 'success');
    await notebook.shows('alive again');
    await workbench.command('Notifications: Clear All Notifications');
  });

  test('outputs that are cleared while a cell runs leave room for what it writes next', async () => {
    const notebook = await workbench.openNotebook('clear.ipynb', [
      `import { existsSync } from 'node:fs';
console.log('before the ' + 'clearing');
while (!existsSync('cleared')) await new Promise((resolve) => setTimeout(resolve, 20));
console.log('after the ' + 'clearing');`,
    ]);
    await notebook.run(0);
    await notebook.shows('before the clearing');
    await workbench.command('Notebook: Clear All Outputs');
    await notebook.shows('before the clearing', false);
    await workbench.write('cleared', '');
    await notebook.shows('after the clearing');
    await notebook.ends(0, 'success');
  });

  test('a queued cell that is deleted is not run', async () => {
    const notebook = await workbench.openNotebook('deleted.ipynb', [
      `import { existsSync } from 'node:fs';
while (!existsSync('deleted')) await new Promise((resolve) => setTimeout(resolve, 20));`,
      "globalThis.wasRun = 'it was run';",
      "(globalThis as { wasRun?: string }).wasRun ?? 'it was ' + 'not run';",
    ]);
    await notebook.run(0);
    await notebook.becomes(0, 'executing');
    await notebook.run(1);
    await notebook.becomes(1, 'pending');
    await notebook.remove(1);
    await notebook.run(1);
    await notebook.becomes(1, 'pending');
    await workbench.write('deleted', '');
    await notebook.ends(1, 'success');
    await notebook.shows("'it was not run'");
  });

  test('a run is shown in the status bar while it goes on, and in two editors side by side', async () => {
    const notebook = await workbench.openNotebook('split.ipynb', [TRAIN('split') + 'run.plot();']);
    await notebook.run(0);
    await workbench.status.getByText(/\d+\/1000000/).waitFor();
    await (await workbench.plot()).reaches(20);
    await workbench.command('View: Split Editor Right');
    const [left, right] = await workbench.plots('split', 2);
    assert.ok(left && right);
    await right.reaches(20);
    for (const plot of [left, right]) {
      const { lastStep } = await plot.facts();
      await plot.reaches(lastStep + 10);
      const { points, lastStep: last } = await plot.facts();
      assert.equal(points, last, 'no step is missing');
    }
  });

  test('a plot in a hidden editor catches up when it is shown again', async () => {
    const [left, right] = await workbench.plots('split', 2);
    assert.ok(left && right);
    const { lastStep } = await right.facts();
    // In front of the right editor; the left one stays visible.
    await workbench.openFile('README.md');
    await left.reaches(lastStep + 10);
    await workbench.command('View: Close Editor');
    await right.reaches(lastStep + 10);
    const { points, lastStep: last } = await right.facts();
    assert.equal(points, last, 'no step is missing');
  });

  test('a saved notebook is not changed by a reload of the window', async () => {
    const notebook = workbench.notebook();
    await workbench.command('File: Save');
    await notebook.isSaved('split.ipynb');
    // Values that come after a save change nothing; meanwhile VS Code forgets what it kept of the unsaved notebook.
    const [before] = await workbench.plots('split', 2);
    await before?.reaches((await before.facts()).lastStep + 20);
    await notebook.isSaved('split.ipynb');
    await workbench.reload();
    const [plot] = await workbench.plots('split', 2);
    const { lastStep } = (await plot?.facts()) ?? { lastStep: 0 };
    await plot?.reaches(lastStep + 10);
    await notebook.isSaved('split.ipynb');
  });

  test('a killed daemon that is started again goes on with the plots, and so does the resumed run', async () => {
    const plots = await workbench.plots('split', 2);
    process.kill(workbench.daemonPid() ?? 0, 'SIGKILL');
    for (const plot of plots) await plot.root.getByText('No live values').waitFor();
    await workbench.status.waitFor({ state: 'hidden' });
    await workbench
      .notification('The training daemon ended')
      .getByRole('button', { name: 'Start It Again' })
      .click();
    for (const plot of plots) await plot.becomes('interrupted');
    const run = await workbench.runs('split');
    await run.hover();
    await run.getByRole('button', { name: 'Resume Run' }).click();
    await workbench.command('View: Show Explorer');
    for (const plot of plots) {
      await plot.becomes('running');
      const { lastStep } = await plot.facts();
      await plot.reaches(lastStep + 10);
      const { points, lastStep: last } = await plot.facts();
      assert.equal(points, last, 'no step is missing');
    }
  });

  test('Stop in the plot ends the run, and the status bar is empty again', async () => {
    const [left, right] = await workbench.plots('split', 2);
    assert.ok(left && right);
    await right.root.getByRole('button', { name: 'Stop' }).click();
    for (const plot of [left, right]) await plot.becomes('stopped');
    await workbench.status.waitFor({ state: 'hidden' });
    await workbench.command('View: Join All Editor Groups');
  });

  test('a run’s end is told, with its plot a click away', async () => {
    const notebook = await workbench.openNotebook('end.ipynb', [TRAIN('short', 5)]);
    await notebook.run(0);
    const notification = workbench.notification(/“short” finished after .*loss/);
    await notification.waitFor();
    for (const action of ['Reveal', 'Show Log'])
      assert.equal(await notification.getByRole('button', { name: action }).count(), 1, action);
    await notification.getByRole('button', { name: 'Show Log' }).click();
    await workbench.page.locator('.tab.active').filter({ hasText: 'short.log' }).waitFor();
  });

  test('a new notebook’s cell trains', async () => {
    await workbench.command('GPT Lab: New Notebook');
    const notebook = workbench.notebook();
    await notebook.tab('Untitled').waitFor();
    await notebook.run(0);
    const [plot] = await workbench.plots('gpt2-nano', 1);
    assert.ok(plot);
    await plot.reaches(2);
    await plot.root.getByRole('button', { name: 'Stop' }).click();
    await plot.becomes('stopped');
  });

  test('saving a new notebook keeps its kernel', async () => {
    await workbench.saveUntitled();
    const notebook = workbench.notebook();
    await notebook.isSaved('Untitled-1.ipynb');
    await notebook.run(0);
    await notebook.cell(0).getByText('[2]').waitFor();
    const [plot] = await workbench.plots('gpt2-nano', 1);
    await plot?.root.getByRole('button', { name: 'Stop' }).click();
    await plot?.becomes('stopped');
  });

  test('nothing in our extension has failed on the way but the kernel that was killed', async () => {
    const errors = await workbench.errors();
    assert.deepEqual(
      errors.filter((line) => !/Kernel of .*death\.ipynb died: signal SIGKILL/.test(line)),
      [],
    );
  });
});
