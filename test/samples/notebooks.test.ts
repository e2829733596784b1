/**
 * Every notebook in samples/, run through the real kernel and daemon. Training is cut short (`notebook run --set`);
 * `npm start -- --headless` runs the quickstart in full.
 */
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { packageRoot } from '../../kernel/home.ts';
import { PLOT_MIME } from '../../kernel/protocol/plot-mime.ts';
import type { PlotOutput } from '../../kernel/protocol/plot.ts';
import { processGone } from '../daemon-home.ts';
import { createWorkplace, type Outcome, type Workplace } from '../cli/gpt-lab.ts';

interface Output {
  readonly output_type: string;
  readonly data?: Record<string, unknown>;
  readonly text?: string;
}

interface Cell {
  readonly cell_type: string;
  readonly id: string;
  readonly source: string[];
  readonly execution_count?: number | null;
  readonly outputs?: Output[];
}

interface Notebook {
  readonly nbformat: number;
  readonly nbformat_minor: number;
  readonly metadata: { kernelspec?: { name: string } };
  readonly cells: Cell[];
}

const STEPS = 60;
const samples = join(packageRoot(), 'samples');
const names = (await readdir(samples)).filter((name) => name.endsWith('.ipynb'));

let place: Workplace;
before(async () => (place = await createWorkplace()));
after(() => place.end());

const readNotebook = async (path: string): Promise<Notebook> =>
  JSON.parse(await readFile(path, 'utf8')) as Notebook;

const codeOf = ({ cells }: Notebook): Cell[] => cells.filter(({ cell_type }) => cell_type === 'code');

interface Execution {
  readonly outcome: Outcome;
  readonly notebook: Notebook;
}

const executions = new Map<string, Promise<Execution>>();

/** Runs a notebook, once for all tests. */
function execute(name: string): Promise<Execution> {
  const known = executions.get(name);
  if (known) return known;
  const execution = (async (): Promise<Execution> => {
    const to = join(place.folder, name);
    const settings = ['--set', `training.steps=${STEPS}`];
    const outcome = await place.run('notebook', 'run', join(samples, name), '--to', to, ...settings);
    return { outcome, notebook: await readNotebook(to) };
  })();
  executions.set(name, execution);
  return execution;
}

for (const name of names) {
  test(`${name} runs from top to bottom`, async () => {
    const before = await readFile(join(samples, name), 'utf8');
    const original = JSON.parse(before) as Notebook;
    for (const { id, outputs, execution_count } of codeOf(original))
      assert.deepEqual([outputs, execution_count], [[], null], `cell ${id} is committed with outputs`);
    assert.equal(original.metadata.kernelspec?.name, 'gpt-lab');

    const { outcome, notebook } = await execute(name);
    assert.equal(outcome.code, 0, outcome.stderr + outcome.stdout);
    assert.match(outcome.stdout, new RegExp(`The executed notebook is .*${name}\n$`));
    assert.deepEqual([notebook.nbformat, notebook.nbformat_minor], [4, 5]);
    assert.deepEqual(
      notebook.cells.map(({ id, source }) => [id, source]),
      original.cells.map(({ id, source }) => [id, source]),
    );
    assert.deepEqual(
      codeOf(notebook).map(({ execution_count }) => execution_count),
      codeOf(notebook).map((_, index) => index + 1),
    );
    for (const { outputs = [] } of codeOf(notebook))
      assert.deepEqual(
        outputs.filter(({ output_type }) => output_type === 'error'),
        [],
      );
    assert.equal(await readFile(join(samples, name), 'utf8'), before);

    for (const { snapshot, steps } of plotsOf(notebook)) {
      assert.equal(steps, STEPS);
      assert.deepEqual([snapshot?.state, snapshot?.train.step.at(-1)], ['finished', STEPS]);
    }
  });
}

function plotsOf(notebook: Notebook): PlotOutput[] {
  return codeOf(notebook)
    .flatMap(({ outputs = [] }) => outputs)
    .flatMap(({ data }) => (data?.[PLOT_MIME] === undefined ? [] : [data[PLOT_MIME] as PlotOutput]));
}

test('the quickstart shows its progress, learns, and saves a curve that GitHub and Jupyter show too', async () => {
  const { outcome, notebook } = await execute('quickstart.ipynb');
  assert.match(outcome.stderr, /quickstart {2}▕.*▏ {2}60\/60 {2}loss \d\.\d{3}.* tokens\/s/);
  assert.match(
    outcome.stdout,
    /quickstart \(.*\): finished, step 60 of 60, loss \d\.\d{3}, validation \d\.\d{3}\n[▁▂▃▄▅▆▇█]+\n/,
  );
  const [plot] = plotsOf(notebook);
  const { train, evaluation } = plot?.snapshot ?? {};
  assert.ok(train && evaluation);
  const vocabulary = Number(/vocabularySize: (\d+)/.exec(JSON.stringify(notebook.cells))?.[1]);
  const first = train.loss[0] ?? 0;
  assert.ok(
    Math.abs(first - Math.log(vocabulary)) < 0.3,
    `first loss ${first}, ln(V) ${Math.log(vocabulary)}`,
  );
  const last = evaluation.loss.at(-1) ?? Infinity;
  assert.ok(last < first - 1, `held-out loss ${last} after a first loss of ${first}`);
  const outputs = codeOf(notebook).flatMap(({ outputs: some = [] }) => some);
  const drawn = outputs.find(({ data }) => data?.[PLOT_MIME] !== undefined)?.data ?? {};
  assert.match(String(drawn['image/svg+xml']), /^<svg/);
  assert.match(String(drawn['text/plain']), /quickstart: finished, step 60 of 60.*\n[▁▂▃▄▅▆▇█]+/);
  const written = outputs.filter(({ text }) => text?.startsWith('Call me')).at(-1)?.text ?? '';
  assert.ok(written.length > 200, written);
});

test('a cell that fails or is interrupted ends the notebook; what there is is written, and no process is left', async () => {
  const cell = (id: string, source: string): unknown => ({
    ...{ cell_type: 'code', id, metadata: {}, execution_count: null, outputs: [] },
    source: [source],
  });
  await place.write('broken.ipynb', {
    ...{ nbformat: 4, nbformat_minor: 5, metadata: {} },
    cells: [cell('a', "console.log('before')"), cell('b', "throw new Error('broken')"), cell('c', '1')],
  });
  const to = join(place.folder, 'broken-executed.ipynb');
  const { code, stdout, stderr } = await place.run('notebook', 'run', 'broken.ipynb', '--to', to);
  assert.equal(code, 1);
  assert.match(stdout, /before\n[^]*broken/);
  assert.match(stderr, /Cell 2 of 3 failed; the notebook so far is /);
  const { cells } = await readNotebook(to);
  assert.deepEqual(
    cells.map(({ outputs = [] }) => outputs.map(({ output_type }) => output_type)),
    [['stream'], ['error'], []],
  );
  await place.write('waiting.ipynb', {
    ...{ nbformat: 4, nbformat_minor: 5, metadata: {} },
    cells: [cell('a', "console.log('before', process.ppid, process.pid); await new Promise(() => {})")],
  });
  const waiting = place.start('notebook', 'run', 'waiting.ipynb', '--to', to);
  await waiting.shows(/before \d+ \d+\n/);
  waiting.child.kill('SIGINT');
  const interrupted = await waiting.ended;
  assert.equal(interrupted.code, 130);
  const pids = /before (\d+) (\d+)/.exec(interrupted.stdout)?.slice(1).map(Number) ?? [];
  await Promise.all(pids.map(processGone));
  assert.equal((await readNotebook(to)).cells[0]?.outputs?.[0]?.output_type, 'stream');

  const missing = await place.run('notebook', 'run', 'missing.ipynb', '--to', to);
  assert.equal(missing.code, 2);
});
