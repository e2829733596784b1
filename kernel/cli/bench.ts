/** `gpt-lab bench`: the machine, the engine, with the hidden commands that serve its steps, and the notebook. */
import { benchmarkCollectives, serveCollectiveRank, type CollectiveRow } from '../bench/collectives.ts';
import { benchmarkEngine, precisions, type BenchmarkRow } from '../bench/engine.ts';
import { Gpt2Generation } from '../bench/gpt2-generation.ts';
import { Gpt2Step } from '../bench/gpt2-step.ts';
import { measureMachine } from '../bench/machine.ts';
import { benchmarkNotebook } from '../bench/notebook.ts';
import { benchmarkParallel, defaultSize, type LayoutRow } from '../bench/parallel.ts';
import { serveSteps } from '../bench/stepper.ts';
import { availableThreads, NativeEngine } from '../engine/native/native-engine.ts';
import { rememberMachine } from '../parallel/plan/this-machine.ts';
import { UsageError } from './arguments.ts';
import { defineCommand, EXIT, print, printJson } from './command.ts';

/** The parts of `a,b,…`; `none` has none. */
function listOf(text: string): string[] {
  return text === 'none' ? [] : text.split(',');
}

export const benchEngine = defineCommand({
  name: 'bench engine',
  summary: 'Measure training steps of GPT-2 124M, against PyTorch where there is one',
  notes: [
    'GPT_LAB_PYTHON names a Python that has PyTorch: then each step is measured in turn with its eager and compiled ones.',
    'Shares of the floor compare with the arithmetic at the measured peak of products plus AdamW’s bytes at the measured',
    'bandwidth of copying. Leave the machine alone meanwhile.',
  ].join('\n'),
  options: {
    sizes: {
      type: 'text',
      value: 'BxT,…',
      help: 'sequences x tokens of a step (4x64,4x256,1x1024), or none',
    },
    precision: { type: 'text', value: 'P', help: 'fp32 or bf16 alone' },
    generation: { type: 'text', value: 'N,…', help: 'sequences that are generated at a time (1,8), or none' },
    rounds: { type: 'integer', value: 'N', minimum: 1, maximum: 1000, help: 'measured steps of each (5)' },
    threads: { type: 'integer', value: 'N', minimum: 1, maximum: 1024, help: 'threads (all usable)' },
  },
  async run({ values }) {
    const { json, rounds = 5, threads = availableThreads() } = values;
    const sizes = listOf(values.sizes ?? '4x64,4x256,1x1024').map((text) => {
      const [, B, T] = /^(\d+)x(\d+)$/.exec(text) ?? [];
      const size = { B: Number(B), T: Number(T) };
      if (!(size.B >= 1 && size.T >= 1 && size.T <= 1024))
        throw new UsageError([
          `--sizes has "${text}": allowed are sequences x tokens, at most 1024, e.g. 4x256, or none`,
        ]);
      return size;
    });
    const chosen = precisions.filter((one) => values.precision === undefined || one === values.precision);
    if (chosen.length === 0)
      throw new UsageError([`--precision is "${values.precision}": allowed is ${precisions.join(', ')}`]);
    const python = process.env['GPT_LAB_PYTHON'];
    const ownBench = [process.execPath, ...process.execArgv, process.argv[1] ?? '', 'bench'];
    const generation = listOf(values.generation ?? '1,8').map((text) => {
      if (/^[1-9]\d{0,2}$/.test(text)) return Number(text);
      throw new UsageError([`--generation has "${text}": allowed are whole numbers from 1 to 999, or none`]);
    });
    const benchmark = { sizes, precisions: chosen, rounds, threads, python, generation, ownBench };
    for await (const row of benchmarkEngine(benchmark)) {
      if (json) printJson(row);
      else print(describe(row));
    }
    return EXIT.done;
  },
});

export const benchMachine = defineCommand({
  name: 'bench machine',
  summary: 'Measure the ceilings of this machine, which `gpt-lab plan` then counts with',
  notes: 'Products that never leave the caches, and copying. Leave the machine alone meanwhile.',
  options: {},
  async run({ values: { json } }) {
    const row = await measureMachine(availableThreads());
    rememberMachine(row);
    if (json) printJson(row);
    else print(describe(row));
    return EXIT.done;
  },
});

export const benchNotebook = defineCommand({
  name: 'bench notebook',
  summary: 'Measure the start of a kernel and the round trip of 1+1, against ipykernel where there is one',
  notes:
    'GPT_LAB_PYTHON names a Python that has jupyter_client and ipykernel: then both kernels are measured in turns through it.',
  options: {
    rounds: { type: 'integer', value: 'N', minimum: 1, maximum: 1000, help: 'measurements of each (5)' },
  },
  async run({ values: { json, rounds = 5 } }) {
    let own: number | undefined;
    for await (const row of benchmarkNotebook({ rounds, python: process.env['GPT_LAB_PYTHON'] })) {
      if (json) {
        printJson(row);
        continue;
      }
      const { kernel, client, roundTripMilliseconds: trip, startMilliseconds: start } = row;
      const ratio = client === 'gpt-lab' || own === undefined ? '' : `, ${(trip / own).toFixed(2)} x ours`;
      if (client !== 'gpt-lab') own ??= trip;
      const started = start === undefined ? '' : `, a new kernel answers after ${start.toFixed(0)} ms`;
      print(`${kernel} through ${client}: 1+1 takes ${trip.toFixed(2)} ms${ratio}${started}`);
    }
    return EXIT.done;
  },
});

export const benchParallel = defineCommand({
  name: 'bench parallel',
  summary: 'Measure a model on 1, 2 and 4 ranks in every layout, and the collectives',
  notes: [
    'Every rank has one thread. Bytes are compared with what each stage of ZeRO must at least bring to a rank, the waiting of',
    'stages with what their schedule says. More ranks than CPUs take turns. Leave the machine alone meanwhile.',
  ].join('\n'),
  options: {
    rounds: { type: 'integer', value: 'N', minimum: 1, maximum: 1000, help: 'measured steps of each (5)' },
  },
  async run({ values: { json, rounds = 5 } }) {
    for await (const row of benchmarkParallel({ rounds, size: defaultSize })) {
      if (json) printJson(row);
      else if (row.row === 'layout') print(describeLayout(row));
      else
        print(
          `${row.cpu}, ${row.cpus} CPUs, gpt-lab ${row.version}; ${(row.parameters / 1e6).toFixed(1)} M parameters, a thread for each rank`,
        );
    }
    const program = [process.argv[1] ?? '', 'bench', 'collective-rank'];
    for await (const row of benchmarkCollectives(program, [2, 4], COLLECTIVE_BYTES)) {
      if (json) printJson(row);
      else print(describeCollective(row));
    }
    return EXIT.done;
  },
});

function describeLayout(row: LayoutRow): string {
  const { layout, world, minimumSeconds, medianSeconds, overMinimum, bubble } = row;
  const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
  const name = Object.entries(layout).map(([key, value]) => `${key} ${value}`);
  return [
    `${(name.join(', ') || 'one rank').padEnd(56)} ${world} rank${world > 1 ? 's' : ' '}  best ${minimumSeconds.toFixed(3)} s, median ${medianSeconds.toFixed(3)} s`,
    `${row.speedUp.toFixed(2)} x one rank`,
    `at most ${(row.peakBytes / 1e6).toFixed(0)} MB a rank`,
    ...(world > 1 ? [`${(row.bytesPerStep / 1e6).toFixed(1)} MB a step`] : []),
    ...(overMinimum === undefined ? [] : [`${overMinimum.toFixed(3)} x the least`]),
    ...(bubble === undefined
      ? []
      : [`waiting ${percent(bubble.measured)}, by the schedule ${percent(bubble.schedule)}`]),
  ].join(', ');
}

/** The tensor of the collectives: larger than the caches. */
const COLLECTIVE_BYTES = 64 * 2 ** 20;

function describeCollective({
  operation,
  ranks,
  bytes,
  seconds,
  bandwidth,
  ofMemcpy,
}: CollectiveRow): string {
  const time = seconds < 1e-3 ? `${(seconds * 1e6).toFixed(0)} µs` : `${(seconds * 1e3).toFixed(1)} ms`;
  return [
    `${operation === 'send' ? 'send and receive' : operation} of ${bytes / 2 ** 20} MiB, ${ranks} ranks: ${time}`,
    ...(bandwidth === undefined ? [] : [`${(bandwidth / 1e9).toFixed(2)} GB/s to each`]),
    ...(ofMemcpy === undefined ? [] : [`${ofMemcpy.toFixed(2)} of memcpy`]),
  ].join(', ');
}

export const benchCollectiveRank = defineCommand({
  name: 'bench collective-rank',
  summary: 'Measure collectives as one rank of bench parallel',
  hidden: true,
  options: {},
  async run() {
    await serveCollectiveRank();
    return EXIT.done;
  },
});

export const benchEngineStep = defineCommand({
  name: 'bench engine-step',
  summary: 'Take one training step of GPT-2 124M per line of stdin',
  hidden: true,
  positionals: ['BATCH', 'TOKENS', 'PRECISION', 'THREADS'],
  options: {},
  async run({ positionals: [B, T, precision, threads] }) {
    const engine = new NativeEngine(Number(threads));
    const batch = { B: Number(B), T: Number(T) };
    const step = new Gpt2Step(engine, batch, { precision: precision === 'bf16' ? 'bf16' : 'fp32' });
    await serveSteps(process.stdin, () => step.run());
    await engine.dispose();
    return EXIT.done;
  },
});

export const benchEngineGenerate = defineCommand({
  name: 'bench engine-generate',
  summary: 'Generate tokens with GPT-2 124M, some per line of stdin',
  hidden: true,
  positionals: ['SEQUENCES', 'TOKENS', 'THREADS'],
  options: {},
  async run({ positionals: [sequences, tokens, threads] }) {
    const engine = new NativeEngine(Number(threads));
    const generation = new Gpt2Generation(engine, Number(sequences));
    await serveSteps(process.stdin, () => generation.run(Number(tokens)));
    await engine.dispose();
    return EXIT.done;
  },
});

function describe(row: BenchmarkRow): string {
  switch (row.row) {
    case 'machine':
      return [
        `${row.cpu}, ${row.threads} threads, ${row.instructions}, gpt-lab ${row.version}`,
        `products ${giga(row.peakF32)} GFLOP/s in f32, ${giga(row.peakBf16)} in bf16; copying ${giga(row.copyBandwidth)} GB/s`,
      ].join('\n');
    case 'step': {
      const ahead = row.aheadOfBest === undefined ? '' : `, ${row.aheadOfBest.toFixed(2)} x the best other`;
      const version = row.version === undefined ? '' : ` ${row.version}`;
      return [
        `${row.name === 'gpt-lab' ? '\n' : ''}${row.B}x${row.T} ${row.precision}  ${(row.name + version).padEnd(26)}`,
        `median ${row.medianSeconds.toFixed(3)} s, best ${row.minimumSeconds.toFixed(3)} s,`,
        `${(100 * row.shareOfFloor).toFixed(0)} % of the floor, ${giga(row.peakBytes)} GB,`,
        `first step after ${row.startSeconds.toFixed(1)} s${ahead}`,
      ].join(' ');
    }
    case 'generation': {
      const ahead = row.aheadOfBest === undefined ? '' : `, ${row.aheadOfBest.toFixed(2)} x the other`;
      return [
        `${row.name === 'gpt-lab' ? '\n' : ''}generation, ${row.sequences} sequence${row.sequences > 1 ? 's' : ''} `,
        `${row.name}${row.version === undefined ? '' : ` ${row.version}`}:`,
        `${row.tokensPerSecond.toFixed(1)} tokens/s, ${(100 * row.shareOfBandwidth).toFixed(0)} % of the bandwidth,`,
        `${giga(row.peakBytes)} GB${ahead}`,
      ].join(' ');
    }
    case 'operation':
      return `    ${row.operation.padEnd(30)} ${(1000 * row.seconds).toFixed(1).padStart(9)} ms ${(100 * row.share).toFixed(1).padStart(5)} %`;
  }
}

function giga(value: number): string {
  return (value / 1e9).toFixed(value < 1e10 ? 2 : 0);
}
