/** The `gpt-lab` module as cells use it: a real kernel, a real daemon. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { DaemonClient } from '../../kernel/daemon/client.ts';
import type { ExecuteReply } from '../../kernel/jupyter/client-messages.ts';
import { startKernel, type KernelClient } from '../../kernel/jupyter/client.ts';
import type { JupyterMessage } from '../../kernel/jupyter/wire.ts';
import { PLOT_MIME } from '../../kernel/protocol/plot-mime.ts';
import type { PlotOutput } from '../../kernel/protocol/plot.ts';
import { createTestHome, tinyConfiguration, until, type TestHome } from '../daemon-home.ts';

let lab: TestHome;
let client: DaemonClient;
let kernel: KernelClient;
before(async () => {
  lab = await createTestHome();
  client = await lab.connect();
  kernel = await openKernel();
  const { reply } = await run("import { train, runs, gpt2, text, display } from 'gpt-lab';");
  assert.equal(reply.status, 'ok');
});
after(async () => {
  await kernel.shutdown();
  await lab.end();
});

const openKernel = (): Promise<KernelClient> =>
  startKernel({ cwd: lab.home, env: { GPT_LAB_HOME: lab.home, JPY_SESSION_NAME: `${lab.home}/book.ipynb` } });

interface Cell {
  readonly reply: ExecuteReply;
  readonly messages: JupyterMessage[];
  readonly stdout: string;
  /** The text of the cell's result. */
  readonly result: string;
}

async function run(code: string, on: KernelClient = kernel): Promise<Cell> {
  const messages: JupyterMessage[] = [];
  const reply = await on.execute(code, { onMessage: (message) => messages.push(message) });
  return cellOf(reply, messages);
}

function cellOf(reply: ExecuteReply, messages: JupyterMessage[]): Cell {
  const of = (type: string): JupyterMessage[] => messages.filter(({ header }) => header.msg_type === type);
  const stdout = of('stream')
    .filter(({ content }) => content['name'] === 'stdout')
    .map(({ content }) => String(content['text']))
    .join('');
  const data = of('execute_result')[0]?.content['data'] as Record<string, unknown> | undefined;
  return { reply, messages, stdout, result: (data?.['text/plain'] ?? '') as string };
}

/** Runs a cell that must not fail. */
async function ok(code: string, on: KernelClient = kernel): Promise<Cell> {
  const cell = await run(code, on);
  assert.equal(cell.reply.status, 'ok', `${cell.reply.ename}: ${cell.reply.evalue}`);
  return cell;
}

/** The configuration of the tiny model, its text named as a notebook would, as source. */
const tiny = (steps: number): string => JSON.stringify(tinyConfiguration('text.txt', steps));

/** A run that a cell has put into `variable` as its id. */
async function idOf(variable: string): Promise<string> {
  return (await ok(`${variable}.id`)).result.replaceAll("'", '');
}

test('train returns when the run has started; finished tells its end; generate writes as it samples', async () => {
  const started = await ok(`const first = await train(${tiny(40)});\nfirst`);
  assert.match(started.result, /^tiny \(\d{8}-tiny-[0-9a-f]{6}\): running, .*step \d+ of 40/);
  const { result } = await ok(
    'const end = await first.finished;\n[end.state, end.step, end.loss > 0].join()',
  );
  assert.equal(result, "'finished,40,true'");
  const shown = await client.request('run.show', { run: await idOf('first') });
  assert.equal(shown.source, `${lab.home}/book.ipynb`);

  const generated = await ok("const text1 = await first.generate('the', { tokens: 8, seed: 5 });\ntext1");
  assert.match(generated.stdout, /^the[^]+\n$/);
  assert.match(generated.result, /^8 tokens in \d+\.\d s/);
  const again = await ok(
    "const text2 = await first.generate('the', { tokens: 8, seed: 5, stream: false });\n`${text2}` === `${text1}` && text2.toString() === 'the' + text2.text",
  );
  assert.deepEqual([again.stdout, again.result], ['', 'true']);
  const evaluation = await ok(
    "const { loss, perplexity } = await first.evaluate('text.txt');\nMath.abs(Math.exp(loss) - perplexity) < 1e-9",
  );
  assert.equal(evaluation.result, 'true');
});

test('the plot grows after its cell has ended, and its last form holds the whole curve', async () => {
  const messages: JupyterMessage[] = [];
  let ended: () => void = () => undefined;
  const complete = new Promise<void>((resolve) => (ended = resolve));
  const plotOf = (message: JupyterMessage | undefined): PlotOutput | undefined =>
    (message?.content['data'] as Record<string, PlotOutput> | undefined)?.[PLOT_MIME];
  const unsubscribe = kernel.onMessage((message) => {
    messages.push(message);
    if (plotOf(message)?.snapshot?.state === 'finished') ended();
  });
  const cell = await ok(`const plotted = await train(${tiny(300)});\nplotted.plot();`);
  const first = cell.messages.find(({ header }) => header.msg_type === 'display_data');
  assert.ok(first);
  assert.equal(plotOf(first)?.steps, 300);
  await complete;
  unsubscribe();
  const last = messages.findLast((message) => plotOf(message) !== undefined);
  assert.equal(last?.header.msg_type, 'update_display_data');
  const id = (message: JupyterMessage | undefined): unknown =>
    (message?.content['transient'] as { display_id?: string } | undefined)?.display_id;
  assert.equal(id(last), id(first));
  const snapshot = plotOf(last)?.snapshot;
  assert.equal(snapshot?.train.step.at(-1), 300);
  assert.equal(snapshot.evaluation.step.at(-1), 300);
  const bundle = last.content['data'] as Record<string, string>;
  assert.match(bundle['image/svg+xml'] ?? '', /^<svg/);
  assert.match(bundle['text/plain'] ?? '', /^tiny: finished, step 300 of 300, loss/);
});

test('stop leaves a run that resume continues; events and metrics tell all of it; remove deletes it', async () => {
  await ok(`const long = await train(${tiny(1_000_000)});`);
  await ok("for await (const event of long.events()) if (event.event === 'step' && event.step > 20) break;");
  const { result } = await ok('const stopped = await long.stop();\nstopped.state');
  assert.equal(result, "'stopped'");
  const refused = await run('await long.stop()');
  assert.match(refused.reply.evalue ?? '', /is not running: it is stopped/);
  await ok('await long.resume();');
  await ok(
    "for await (const event of long.events({ from: stopped.lastSequence + 1 })) if (event.event === 'step' && event.step > stopped.step + 5) break;",
  );
  await ok('await long.checkpoint();');
  await ok('await long.stop({ force: true });');
  const metrics = await ok(
    'const { train: curve } = await long.metrics();\n[curve.step[0], curve.step.every((step, i) => step === i + 1), curve.loss.length > stopped.step].join()',
  );
  assert.equal(metrics.result, "'1,true,true'");
  assert.match((await ok('await long.logs()')).result, /resumed after step/);
  const id = await idOf('long');
  await ok('await long.remove();');
  const gone = await run(`await runs('${id}')`);
  assert.equal(gone.reply.ename, 'NoSuchRun');
});

test('runs() lists all of them as a table, runs(id) finds one again', async () => {
  const list = await ok('const all = await runs();\nall');
  assert.match(list.result, /^RUN +NAME +STATE[^]*tiny +finished +300\/300/);
  const found = await ok(
    "const again = await runs(all[0].id);\n[again.id === all[0].id, (await runs('last')).name].join()",
  );
  assert.equal(found.result, "'true,tiny'");
  const plot = (await ok('again.plot();')).messages.find(({ header }) => header.msg_type === 'display_data');
  const data = plot?.content['data'] as Record<string, PlotOutput> | undefined;
  assert.equal(data?.[PLOT_MIME]?.snapshot?.train.step.at(-1), 300);
});

test('a configuration with mistakes is an error that lists them all', async () => {
  const { reply } = await run(
    "await train({ model: gpt2('nano', { widht: 3 }), data: text('nowhere.txt'), training: { steps: 0 } });",
  );
  assert.equal(reply.ename, 'LabError');
  assert.match(
    reply.evalue ?? '',
    /3 problems:\n *model\.widht is not known: did you mean width\?.*\n *training\.steps is 0: allowed is at least 1\n *data\.text is ".*nowhere\.txt": there is no such file/,
  );
});

test('a run that fails rejects finished with its reason', async () => {
  await ok(
    "const failing = await train({ data: { text: ['text.txt'], tokenizer: 'char', validation: 0 }, model: { width: 32, heads: 2, layers: 1, contextLength: 4096 }, training: { sequenceLength: 4096, steps: 1 } });",
  );
  const { reply } = await run('await failing.finished');
  assert.equal(reply.status, 'error');
  assert.match(
    reply.evalue ?? '',
    /^Run .* failed: The text has 2600 training tokens and one sequence needs 4097/,
  );
});

test('interrupting a cell that waits for a run leaves the run; interrupting generate ends the sampling', async () => {
  await ok(`const waited = await train(${tiny(1_000_000)});`);
  const id = await idOf('waited');
  const waiting = run('await waited.finished');
  await until(client, id, 'step');
  await kernel.interrupt();
  assert.equal((await waiting).reply.status, 'error');
  assert.equal((await client.request('run.show', { run: id })).state, 'running');

  let started: () => void = () => undefined;
  const streaming = new Promise<void>((resolve) => (started = resolve));
  const messages: JupyterMessage[] = [];
  const sampling = kernel.execute("await waited.generate('the', { tokens: 100000 })", {
    onMessage: (message) => {
      messages.push(message);
      if (message.header.msg_type === 'stream') started();
    },
  });
  await streaming;
  await kernel.interrupt();
  assert.equal((await sampling).status, 'error');
  assert.equal((await client.request('run.show', { run: id })).state, 'running');
  await ok('await waited.stop();');
});

test('a run outlives the kernel that started it, and another kernel finds it', async () => {
  const doomed = await openKernel();
  await ok("import { train } from 'gpt-lab';", doomed);
  const { result } = await ok(
    `const mine = await train(${tiny(1_000_000)});\nmine.plot();\nprocess.ppid`,
    doomed,
  );
  const found = (await client.request('run.list', {})).at(-1);
  assert.ok(found);
  process.kill(Number(result), 'SIGKILL');
  await doomed.died;
  const { sequence } = await until(client, found.run, 'step', found.lastSequence + 1);
  assert.ok(sequence > found.lastSequence);
  assert.equal((await client.request('run.show', { run: found.run })).state, 'running');
  const stopped = await ok(`const foundAgain = await runs('${found.run}');\n(await foundAgain.stop()).state`);
  assert.equal(stopped.result, "'stopped'");
  await doomed.shutdown();
});
