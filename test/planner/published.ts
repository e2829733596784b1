/** Figures that others have published, as jobs of the planner, with everything that had to be assumed. */
import { forecast } from '../../kernel/parallel/plan/forecast.ts';
import type { Job, Layout, Peculiarities, PlannedModel } from '../../kernel/parallel/plan/job.ts';
import { machines } from '../../kernel/parallel/plan/machines.ts';
import type { Machine } from '../../kernel/parallel/plan/machine.ts';
import { modelParameters } from '../../kernel/parallel/plan/model-size.ts';
import { stageMemory } from '../../kernel/parallel/plan/memory.ts';

/** One published figure and ours. */
export interface Comparison {
  /** Section of docs/planner.md. */
  readonly source: 'ZeRO' | 'Megatron-LM 2021' | 'Megatron-LM 2022' | 'torchtitan' | 'llm.c';
  readonly name: string;
  readonly unit: string;
  readonly published: number;
  readonly planned: number;
}

function machine(name: string): Machine {
  const found = machines.find((one) => one.name === name);
  if (found === undefined) throw new Error(`The library has no ${name}`);
  return found;
}

const plain: Layout = {
  ...{ data: 1, pipeline: 1, tensor: 1, tensorMode: '1d', sequenceParallel: false },
  ...{ zero: 0, microBatches: 1 },
  ...{ schedule: '1f1b', chunks: 1, activationCheckpointing: false },
};

/** A GPT with as large a vocabulary as makes `parameters`, from which the paper's whole numbers are counted. */
function gptOf(parameters: number, layers: number, width: number): PlannedModel {
  const shape = { layers, width, heads: 32, contextLength: 1024, tieHead: true, dropout: 0 };
  const rest = parameters - modelParameters({ ...shape, vocabularySize: 0 });
  return { ...shape, vocabularySize: Math.round(rest / width) };
}

/** Rajbhandari et al. 2020 (arXiv 1910.02054), table 1: GB a device of stages 1 to 3. */
const zeroTable: [
  billions: number,
  layers: number,
  width: number,
  rows: Record<number, [number, number, number]>,
][] = [
  [
    ...([7.5, 36, 4096] as const),
    {
      1: [120, 120, 120],
      4: [52.5, 41.3, 30],
      16: [35.6, 21.6, 7.5],
      64: [31.4, 16.6, 1.88],
      256: [30.4, 15.4, 0.47],
      1024: [30.1, 15.1, 0.12],
    },
  ],
  [
    ...([128, 70, 12288] as const),
    {
      1: [2048, 2048, 2048],
      4: [896, 704, 512],
      16: [608, 368, 128],
      64: [536, 284, 32],
      256: [518, 263, 8],
      1024: [513, 257, 2],
    },
  ],
  [
    ...([1000, 127, 25600] as const),
    {
      1: [16000, 16000, 16000],
      4: [7000, 5500, 4000],
      16: [4750, 2875, 1000],
      64: [4187, 2218, 250],
      256: [4046, 2054, 62.5],
      1024: [4011, 2013, 15.6],
    },
  ],
];

/** States alone, as the paper counts them. */
function* zero(): Generator<Comparison> {
  for (const [billions, layers, width, rows] of zeroTable)
    for (const [ranks, published] of Object.entries(rows))
      for (const [index, value] of published.entries()) {
        const stage = (index + 1) as 1 | 2 | 3;
        const layout = { ...plain, data: Number(ranks), zero: stage };
        const job: Job = {
          ...{ model: gptOf(billions * 1e9, layers, width), layout },
          ...{ batchSize: Number(ranks), sequenceLength: 1024, precision: 'bf16' },
        };
        const [rank] = stageMemory(job, 'mixed');
        if (rank === undefined) throw new Error('A job without ranks');
        yield {
          source: 'ZeRO',
          name: `${billions}B, ${ranks} ranks, stage ${stage}`,
          unit: 'GB',
          published: value,
          planned: (rank.weights + rank.gradients + rank.optimizer) / 1e9,
        };
      }
}

const megatron = (layers: number, width: number, heads: number): PlannedModel => ({
  ...{ layers, width, heads, contextLength: 2048, vocabularySize: 51200, tieHead: true, dropout: 0.1 },
});

/**
 * Narayanan et al. 2021 (arXiv 2104.04473), table 1: TFLOP/s a GPU, recomputation counted. The table does not give sizes of
 * micro-batches nor chunks: the largest power of two up to 16 that seems to fit, and what divides the layers.
 */
const megatron2021: [
  name: string,
  model: [layers: number, width: number, heads: number],
  ranks: [tensor: number, pipeline: number, gpus: number],
  batch: [size: number, micro: number],
  chunks: number,
  teraflops: number,
][] = [
  ['1.7B', [24, 2304, 24], [1, 1, 32], [512, 16], 1, 137],
  ['3.6B', [30, 3072, 32], [2, 1, 64], [512, 16], 1, 138],
  ['7.5B', [36, 4096, 32], [4, 1, 128], [512, 16], 1, 142],
  ['18.4B', [40, 6144, 48], [8, 1, 256], [1024, 4], 1, 135],
  ['39.1B', [48, 8192, 64], [8, 2, 512], [1536, 4], 2, 138],
  ['76.1B', [60, 10240, 80], [8, 4, 1024], [1792, 2], 3, 140],
  ['145.6B', [80, 12288, 96], [8, 8, 1536], [2304, 2], 2, 148],
  ['310.1B', [96, 16384, 128], [8, 16, 1920], [2160, 1], 2, 155],
  ['529.6B', [105, 20480, 128], [8, 35, 2520], [2520, 1], 3, 156],
  ['1008B', [128, 25600, 160], [8, 64, 3072], [3072, 1], 2, 163],
];

function* narayanan(): Generator<Comparison> {
  for (const [
    name,
    [layers, width, heads],
    [tensor, pipeline, gpus],
    [batchSize, micro],
    chunks,
    tera,
  ] of megatron2021) {
    const data = gpus / tensor / pipeline;
    const job: Job = {
      model: megatron(layers, width, heads),
      layout: {
        ...plain,
        ...{ data, pipeline, tensor, microBatches: batchSize / data / micro, chunks },
        ...{ schedule: chunks > 1 ? 'interleaved' : '1f1b', activationCheckpointing: true },
      },
      ...{ batchSize, sequenceLength: 2048, precision: 'bf16' },
      peculiarities: { materializedAttention: true, scatteredSends: true, noOverlap: true },
    };
    const { step } = forecast(job, machine('a100-80gb')).seconds;
    // The paper's formula, 96 B s l h² (1 + s/6h + V/16lh).
    const operations =
      96 * batchSize * 2048 * layers * width ** 2 * (1 + 2048 / (6 * width) + 51200 / (16 * layers * width));
    const planned = operations / step / gpus / 1e12;
    const ranks = `${gpus} A100, tensor ${tensor}, pipeline ${pipeline}`;
    yield {
      source: 'Megatron-LM 2021',
      name: `${name}, ${ranks}`,
      unit: 'TFLOP/s',
      published: tera,
      planned,
    };
  }
}

/** Korthikanti et al. 2022 (arXiv 2205.05198), tables 3 and 5: MFU in percent, with sequence parallelism, one data rank. */
const megatron2022: [
  string,
  number,
  number,
  number,
  pipeline: number,
  batch: number,
  micro: number,
  chunks: number,
  mfu: number,
][] = [
  ['22B', 48, 6144, 64, 1, 4, 4, 1, 41.5],
  ['175B', 96, 12288, 96, 8, 64, 1, 3, 51.4],
  ['530B', 105, 20480, 128, 35, 280, 1, 3, 56.0],
  ['1T', 128, 25600, 160, 64, 512, 1, 1, 56.3],
];

function* korthikanti(): Generator<Comparison> {
  for (const [name, layers, width, heads, pipeline, batchSize, micro, chunks, published] of megatron2022) {
    const job: Job = {
      model: megatron(layers, width, heads),
      layout: {
        ...plain,
        ...{ pipeline, tensor: 8, sequenceParallel: true, microBatches: batchSize / micro, chunks },
        schedule: chunks > 1 ? 'interleaved' : '1f1b',
      },
      ...{ batchSize, sequenceLength: 2048, precision: 'bf16' },
      peculiarities: {
        ...{ materializedAttention: true, noOverlap: true },
      },
    };
    const planned = 100 * forecast(job, machine('a100-80gb')).mfu;
    const gpus = 8 * pipeline;
    yield { source: 'Megatron-LM 2022', name: `${name}, ${gpus} A100`, unit: '% MFU', published, planned };
  }
}

const llama = (layers: number, width: number, heads: number, hiddenWidth: number): PlannedModel => ({
  ...{ layers, width, heads, contextLength: 0, vocabularySize: 128256, tieHead: false, dropout: 0 },
  llama: { hiddenWidth, keyValueWidth: 1024 },
});

/** The H100s of torchtitan's report: 96 GB of HBM2e at 2.4 TB/s, 500 W, so products at a lower clock. */
const titanMachine: Machine = {
  ...machine('h100'),
  memory: 96e9,
  memoryBandwidth: 2.4e12,
  productShare: 0.45,
};

/** 8-bit products: the same factor for all models. */
const float8: Peculiarities = { productRate: 1.55 };
const selective: Peculiarities = { recomputedShare: 0.5 };

/**
 * torchtitan, benchmarks/llama3_h100_202412_torchtitan.md: tokens/s a GPU of the compiled variants. Selective checkpointing:
 * every second product again. 405B: as many micro-batches as stages, its default then, parameters kept between them.
 */
const titan: [string, PlannedModel, Partial<Layout>, batch: number, Peculiarities, tokens: number][] = [
  ['8B, 8 GPUs', llama(32, 4096, 32, 14336), { data: 8 }, 16, selective, 6667],
  ['8B, 128 GPUs', llama(32, 4096, 32, 14336), { data: 128 }, 256, selective, 6514],
  ['8B, 8 GPUs, Float8', llama(32, 4096, 32, 14336), { data: 8 }, 16, { ...selective, ...float8 }, 8532],
  ['8B, 128 GPUs, Float8', llama(32, 4096, 32, 14336), { data: 128 }, 256, { ...selective, ...float8 }, 8380],
  [
    '70B, 256 GPUs, Float8',
    llama(80, 8192, 64, 28672),
    { data: 32, tensor: 8, sequenceParallel: true, activationCheckpointing: true },
    512,
    float8,
    829,
  ],
  [
    '405B, 512 GPUs, Float8, 1F1B',
    llama(126, 16384, 128, 53248),
    {
      ...{ data: 8, tensor: 8, sequenceParallel: true, pipeline: 8, microBatches: 8, zero: 1 },
      activationCheckpointing: true,
    },
    256,
    float8,
    100,
  ],
  [
    '405B, 512 GPUs, Float8, interleaved',
    llama(126, 16384, 128, 53248),
    {
      ...{ data: 8, tensor: 8, sequenceParallel: true, pipeline: 8, microBatches: 8, zero: 1 },
      ...{ activationCheckpointing: true, schedule: 'interleaved', chunks: 2 },
    },
    256,
    float8,
    128,
  ],
];

function* torchtitan(): Generator<Comparison> {
  for (const [name, model, changes, batchSize, peculiarities, published] of titan) {
    const layout = { ...plain, zero: 3 as const, ...changes };
    const job: Job = {
      ...{ model, layout, batchSize, sequenceLength: 8192, precision: 'bf16' },
      peculiarities: { ...peculiarities, reducedBytes: 4 },
    };
    const ranks = layout.data * layout.pipeline * layout.tensor;
    const planned = forecast(job, titanMachine).tokensPerSecond / ranks;
    yield { source: 'torchtitan', name, unit: 'tokens/s a GPU', published, planned };
  }
}

/** llm.c: scripts/run_gpt2_124M.sh (300 ms a step) and run_gpt2_1558M.sh (2.7 to 2.8 s a step); micro-batches of 64 and 16. */
function* llmc(): Generator<Comparison> {
  const gpt = (layers: number, width: number, heads: number): PlannedModel => ({
    ...{ layers, width, heads, contextLength: 1024, vocabularySize: 50304, tieHead: true, dropout: 0 },
  });
  const rows: [string, PlannedModel, string, batch: number, microBatches: number, seconds: number][] = [
    ['124M, 8 A100', gpt(12, 768, 12), 'a100-80gb', 512, 1, 0.3],
    ['1558M, 8 H100', gpt(48, 1600, 25), 'h100', 1024, 8, 2.75],
  ];
  for (const [name, model, on, batchSize, microBatches, published] of rows) {
    const layout = { ...plain, data: 8, zero: 1 as const, microBatches };
    const job: Job = { model, layout, batchSize, sequenceLength: 1024, precision: 'bf16' };
    const planned = forecast(job, machine(on)).seconds.step;
    yield { source: 'llm.c', name, unit: 's a step', published, planned };
  }
}

/** Every comparison. */
export function comparisons(): Comparison[] {
  return [...zero(), ...narayanan(), ...korthikanti(), ...torchtitan(), ...llmc()];
}

/** Planned over published, minus one. */
export function error({ planned, published }: Comparison): number {
  return planned / published - 1;
}

/** A row of the table in docs/planner.md. */
export function tableRow(comparison: Comparison): string {
  const { name, unit, published, planned } = comparison;
  const digits = published < 1 ? 2 : published < 100 ? 1 : 0;
  const signed = 100 * error(comparison);
  return `| ${name} | ${published} ${unit} | ${planned.toFixed(Math.max(digits, published < 10 ? 2 : 0))} | ${signed >= 0 ? '+' : '−'}${Math.abs(signed).toFixed(1)} % |`;
}
