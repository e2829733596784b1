/** A plan in words and tables, the same in cells and in the terminal. */
import { formatBytes, formatCount, formatTime } from '../protocol/format.ts';
import type { Forecast } from '../parallel/plan/forecast.ts';
import { batchEquation, worldEquation, worldSize, type Layout } from '../parallel/plan/job.ts';
import { memoryParts, type StageMemory } from '../parallel/plan/memory.ts';

/** Stages that a table shows; of more the first, the fullest and the last. */
const SHOWN_STAGES = 12;

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

/** The first and the last rank of a stage: they are numbered stage by stage. */
export function ranksOfStage({ data, tensor }: Layout, stage: number): { first: number; last: number } {
  const each = data * tensor;
  return { first: stage * each, last: (stage + 1) * each - 1 };
}

/** What is planned, in lines: model, ranks, batch, machine. */
export function describeJob({ job, machine, parameters }: Forecast): string[] {
  const { model, layout } = job;
  const { layers, width, heads, vocabularySize } = model;
  const mode = layout.tensor > 1 && layout.tensorMode !== '1d' ? ` (${layout.tensorMode})` : '';
  const chunks = layout.chunks > 1 ? ` of ${layout.chunks} chunks a stage` : '';
  const extras = [
    layout.sequenceParallel ? 'sequence parallelism' : '',
    layout.data > 1 ? `ZeRO ${layout.zero}` : '',
    layout.pipeline > 1 ? `schedule ${layout.schedule}${chunks}` : '',
    layout.activationCheckpointing ? 'activation checkpointing' : '',
  ].filter((text) => text !== '');
  return [
    `${parameters.toLocaleString('en-US')} parameters: ${layers} layers, width ${width}, ${heads} heads, vocabulary ${vocabularySize}; ${job.precision}`,
    [worldEquation(job) + mode, ...extras].join(', '),
    `${batchEquation(job)}; ${job.batchSize * job.sequenceLength} tokens a step = ${job.batchSize} x ${job.sequenceLength}`,
    machine.title,
  ];
}

/** Rows of the memory of each stage's ranks, headings first. */
export function memoryRows({ job, memory }: Forecast): string[][] {
  const fullest = memory.reduce((most, one) => (one.total > most.total ? one : most));
  const shown =
    memory.length <= SHOWN_STAGES
      ? memory
      : memory.filter((one) => one === memory[0] || one === fullest || one === memory.at(-1));
  const row = (one: StageMemory): string[] => {
    const { first, last } = ranksOfStage(job.layout, one.stage);
    const ranks = first === last ? String(first) : `${first} to ${last}`;
    return [
      ...(job.layout.pipeline > 1 ? [String(one.stage)] : []),
      ranks,
      ...memoryParts.map((part) => formatBytes(one[part])),
      formatBytes(one.total),
      one.moment,
    ];
  };
  return [
    [
      ...(job.layout.pipeline > 1 ? ['STAGE'] : []),
      'RANKS',
      ...memoryParts.map((part) => part.toUpperCase()),
      'TOTAL',
      'MOST AT',
    ],
    ...shown.map(row),
  ];
}

/** One line: what a device needs of what it has. */
export function describeFit({ job, machine, deviceBytes, fits, memory }: Forecast): string {
  const world = worldSize(job.layout);
  const who =
    machine.shared && world > 1
      ? `all ${world} ranks need`
      : world > 1
        ? 'the fullest rank needs'
        : 'it needs';
  const hidden =
    memory.length > SHOWN_STAGES
      ? ` (${memory.length} stages: the first, the fullest and the last are shown)`
      : '';
  return `${fits ? 'Fits' : 'Does not fit'}: ${who} ${formatBytes(deviceBytes)} of ${formatBytes(machine.memory)}${hidden}`;
}

/** Rows of a step's time by part, headings first. */
export function timeRows({ seconds, bubble }: Forecast): string[][] {
  const { step } = seconds;
  const rows: [name: string, value: number, note: string][] = [
    ['products', seconds.products, 'matrices and attention'],
    ['memory', seconds.memory, 'norms, activations, residuals'],
    ['tensor', seconds.tensor, 'communication within tensor groups'],
    ['bubble', seconds.bubble, `waiting for other stages: ${percent(bubble)} of the pipeline`],
    [
      'data',
      seconds.data,
      `communication among data ranks: ${formatTime(seconds.dataTotal)}, the rest hidden`,
    ],
    ['optimizer', seconds.optimizer, 'AdamW'],
  ];
  return [
    ['STEP', 'TIME', 'SHARE', ''],
    ...rows
      .filter(([, value]) => value > 0)
      .map(([name, value, note]) => [name, formatTime(value), percent(value / step), note]),
    ['all', formatTime(step), '', ''],
  ];
}

/** One line: speed. */
export function describeSpeed({ tokensPerSecond, mfu, seconds }: Forecast): string {
  return `${formatTime(seconds.step)} a step, ${formatCount(tokensPerSecond)} tokens/s, MFU ${percent(mfu)}`;
}

/** What there is to say where no layout fits. */
export const NONE_FITS = 'None fits: more ranks, or a smaller model or batch, may';

/** Rows of layouts to compare, headings first. */
export function layoutRows(forecasts: readonly Forecast[]): string[][] {
  return [
    [
      ...['DATA', 'PIPELINE', 'TENSOR', 'SEQUENCE PARALLEL', 'ZERO', 'MICRO-BATCHES', 'SCHEDULE', 'CHUNKS'],
      ...['CHECKPOINTING', 'STEP', 'TOKENS/S', 'MFU', 'MEMORY'],
    ],
    ...forecasts.map((one) => {
      const { layout } = one.job;
      return [
        ...[layout.data, layout.pipeline, layout.tensor].map(String),
        layout.sequenceParallel ? 'yes' : 'no',
        ...[layout.zero, layout.microBatches].map(String),
        layout.schedule,
        String(layout.chunks),
        layout.activationCheckpointing ? 'yes' : 'no',
        formatTime(one.seconds.step),
        formatCount(one.tokensPerSecond),
        percent(one.mfu),
        formatBytes(one.deviceBytes),
      ];
    }),
  ];
}
