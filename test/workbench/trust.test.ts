import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { connectDaemon } from '../../kernel/daemon/client.ts';
import { readConnectionFile } from '../../kernel/daemon/connection.ts';
import type { RunEvent } from '../../kernel/protocol/events.ts';
import { PLOT_MIME } from '../../kernel/protocol/plot-mime.ts';
import { RunSeries, toPlotOutput } from '../../kernel/protocol/run-series.ts';
import { noBrowser } from '../chromium.ts';
import { processGone, tinyConfiguration } from '../daemon-home.ts';
import { fakeRun } from '../renderer/fake-run.ts';
import { Workbench } from './workbench.ts';

/** A notebook that somebody else has run and saved: a cell that would leave a file, and a curve. */
function executedNotebook(proof: string): string {
  const series = new RunSeries();
  series.append(fakeRun(40, { end: { event: 'end', status: 'finished' } }));
  const plot = toPlotOutput({ run: 'run-1', name: 'theirs', steps: 40, state: 'finished' }, series);
  const cell = {
    cell_type: 'code',
    id: 'a',
    metadata: {},
    execution_count: 1,
    source: `require('node:fs').writeFileSync(${JSON.stringify(proof)}, '');`,
    outputs: [{ output_type: 'display_data', metadata: {}, data: { [PLOT_MIME]: plot } }],
  };
  const metadata = { kernelspec: { name: 'gpt-lab', language: 'typescript', display_name: 'TypeScript' } };
  return JSON.stringify({ cells: [cell], metadata, nbformat: 4, nbformat_minor: 5 });
}

describe('a folder that is not trusted', { skip: noBrowser }, () => {
  let workbench: Workbench;
  let proof: string;

  before(async () => {
    workbench = await Workbench.open({
      trust: true,
      settings: { 'security.workspace.trust.startupPrompt': 'never' },
      prepare: trainAndEndDaemon,
    });
    proof = join(workbench.folder, 'proof');
    await writeFile(join(workbench.folder, 'theirs.ipynb'), executedNotebook(proof));
  });
  after(() => workbench.close());

  test('a saved notebook and its curve can be read', async () => {
    await workbench.openFile('theirs.ipynb');
    const plot = await workbench.plot();
    await plot.reaches(40);
    assert.deepEqual(await plot.facts(), { state: 'finished', points: 40, lastStep: 40 });
  });

  test('its cells are not run', async () => {
    const { page } = workbench;
    await page.getByRole('button', { name: 'Run All' }).first().click();
    await page.getByRole('dialog').getByText(/trust/i).first().waitFor();
    await page.keyboard.press('Escape');
    assert.equal(existsSync(proof), false);
    assert.equal(workbench.daemonPid(), undefined);
  });

  test('past runs can be read', async () => {
    await workbench.activity.click();
    await workbench.page.getByRole('button', { name: 'Show Past Runs' }).click();
    await (await workbench.runs('tiny')).waitFor();
  });
});

/** Leaves a home folder with one finished run and no daemon. */
async function trainAndEndDaemon(home: string): Promise<void> {
  await mkdir(home, { recursive: true });
  await writeFile(join(home, 'text.txt'), 'to be read again and again. '.repeat(50));
  const client = await connectDaemon({ home });
  const config = tinyConfiguration('text.txt', 3);
  const { run } = await client.request('run.start', { config, baseDirectory: home });
  let last: RunEvent | undefined;
  for await (const events of client.follow(run)) last = events.at(-1);
  assert.equal(last?.event, 'end');
  const pid = readConnectionFile(home)?.pid ?? 0;
  await client.request('daemon.stop', {});
  client.close();
  await processGone(pid);
}
