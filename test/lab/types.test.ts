/** What the editor knows of the `gpt-lab` module: the declarations that are shipped, checked as a cell would be. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, test } from 'node:test';
import ts from 'typescript';
import { distFile, packageRoot } from '../../kernel/home.ts';

/** Cells by name. */
const cells = {
  right: `
    import { train, gpt2, text, runs, display, type Run, type StepEvent } from 'gpt-lab';
    const run: Run = await train({
      name: 'quickstart',
      model: gpt2('nano', { dropout: 0.1 }),
      data: text(['a.txt', 'b.txt'], { tokenizer: 'bpe', vocabularySize: 4096, validation: 0.1 }),
      training: { steps: 300, optimizer: { betas: [0.9, 0.98] }, schedule: { type: 'linear', warmupSteps: 10 } },
    });
    run.plot();
    const { state, validationLoss } = await run.finished;
    const ended: 'running' | 'finished' | 'stopped' | 'failed' | 'interrupted' = state;
    const loss: number | null = validationLoss;
    const { text: written, seconds } = await run.generate('Call me', { tokens: 100, topK: 40, seed: 1 });
    const { perplexity } = await run.evaluate('b.txt');
    for await (const event of run.events({ from: 10 }))
      if (event.event === 'step') ((step: StepEvent): number => step.tokensPerSecond)(event);
    const steps: number[] = (await run.metrics()).train.step;
    await run.stop({ force: true });
    await (await run.resume()).stop();
    const last: Run = await runs('last');
    const all: Run[] = await runs();
    display({ 'text/plain': [ended, loss, written.length, seconds, perplexity, steps.length, last.id, all.length].join() });
  `,
  planned: `
    import { plan, gpt2, dummyData, type Plan, type RankMemory, type Schedule, type StepSeconds } from 'gpt-lab';
    const forecast: Plan = plan(
      { model: gpt2('small'), data: dummyData(), parallel: { data: 4, pipeline: 2, tensor: 2, zero: 3, schedule: 'interleaved', chunks: 2 } },
      { machine: 'h100' },
    );
    const memory: readonly RankMemory[] = forecast.memory;
    const bytes: number = memory[0]!.activations + memory[0]!.ranks.last;
    const seconds: StepSeconds = forecast.seconds;
    const chart: Schedule = forecast.schedule();
    const [first]: Plan[] = forecast.best({ ranks: 64, count: 3 });
    export const all = [bytes, seconds.bubble, chart.svg.length, first?.config.parallel?.zero, forecast.fits];
  `,
  wrongMachine: "import { plan } from 'gpt-lab'; plan({}, { machine: 'tpu' });",
  unknownKey: "import { train } from 'gpt-lab'; await train({ modle: {} });",
  wrongValue: "import { train } from 'gpt-lab'; await train({ training: { precision: 'fp8' } });",
  noAwait: "import { train } from 'gpt-lab'; train({}).plot();",
} as const;

/** What the compiler finds wrong with each. */
const found = new Map<string, string>();

before(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'gpt-lab-types-'));
  const fileOf = (name: string): string => join(folder, `${name}.ts`);
  for (const [name, code] of Object.entries(cells)) await writeFile(fileOf(name), `${code}\nexport {};\n`);
  const program = ts.createProgram(Object.keys(cells).map(fileOf), {
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    target: ts.ScriptTarget.ES2024,
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    types: ['node'],
    typeRoots: [join(packageRoot(), 'node_modules', '@types')],
    paths: { 'gpt-lab': [distFile('types', 'kernel', 'lab', 'gpt-lab.d.ts')] },
  });
  for (const name of Object.keys(cells)) {
    const diagnostics = ts.getPreEmitDiagnostics(program, program.getSourceFile(fileOf(name)));
    found.set(
      name,
      diagnostics.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n')).join('\n'),
    );
  }
  await rm(folder, { recursive: true });
});

test('all that a cell may do has a type', () => {
  assert.equal(found.get('right'), '');
  assert.equal(found.get('planned'), '');
});

test('a key that does not exist, a value of the wrong kind and a forgotten await are found before they run', () => {
  assert.match(found.get('unknownKey') ?? '', /'modle' does not exist.*'model'/);
  assert.match(found.get('wrongValue') ?? '', /"fp8".*not assignable/);
  assert.match(found.get('wrongMachine') ?? '', /"tpu".*not assignable/);
  assert.match(found.get('noAwait') ?? '', /'plot' does not exist on type 'Promise<Run>'/);
});
