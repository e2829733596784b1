/** Defaults and validation of a run's configuration: every problem at once, each with key, value and what is allowed. */
import { z } from 'zod';
import type { ResolvedConfiguration, RunConfiguration } from './configuration.ts';
import { rules } from './configuration-rules.ts';
import { runRules, tensorRules } from './tensor-rules.ts';
import { presets } from './presets.ts';

const names = Object.keys(presets) as [keyof typeof presets, ...(keyof typeof presets)[]];
const count = z.int().min(1);

/** What is accepted, one object per section; unknown keys are errors. */
const schema = z.strictObject({
  name: z.string().min(1).max(200).optional(),
  model: z
    .strictObject({
      preset: z.enum(names),
      width: count,
      layers: count,
      heads: count,
      contextLength: count,
      vocabularySize: count,
      activation: z.enum(['gelu-tanh', 'gelu-erf']),
      tieHead: z.boolean(),
      dropout: z.number().min(0).lt(1),
    })
    .partial()
    .optional(),
  data: z
    .strictObject({
      text: z.array(z.string().min(1)).min(1),
      dummy: z.boolean(),
      tokenizer: z.enum(['gpt2', 'bpe', 'byte', 'char']),
      vocabularySize: z.int().min(256).max(65_536),
      validation: z.number().min(0).max(0.5),
    })
    .partial()
    .optional(),
  training: z
    .strictObject({
      steps: count,
      batchSize: count,
      sequenceLength: count,
      seed: z.int().min(0),
      precision: z.enum(['fp32', 'bf16']),
      optimizer: z
        .strictObject({
          type: z.literal('adamw'),
          learningRate: z.number().gt(0),
          betas: z.tuple([z.number().min(0).lt(1), z.number().min(0).lt(1)]),
          epsilon: z.number().gt(0),
          weightDecay: z.number().min(0),
          clipNorm: z.number().min(0),
        })
        .partial(),
      schedule: z
        .strictObject({
          type: z.enum(['cosine', 'linear', 'constant']),
          warmupSteps: z.int().min(0),
          minimumRatio: z.number().min(0).max(1),
        })
        .partial(),
      evaluateEvery: z.int().min(0),
      checkpointEvery: z.int().min(0),
      keepCheckpoints: count,
      keepEvery: z.int().min(0),
      activationCheckpointing: z.boolean(),
      onDivergence: z.enum(['stop', 'warn', 'skip', 'rollback']),
      spikeFactor: z.number().min(0),
      maxRestarts: z.int().min(0),
    })
    .partial()
    .optional(),
  parallel: z
    .strictObject({
      data: count,
      pipeline: count,
      tensor: count,
      tensorMode: z.enum(['1d', '2d', '2.5d', '3d']),
      sequenceParallel: z.boolean(),
      zero: z.literal([0, 1, 2, 3]),
      offload: z.enum(['none', 'optimizer']),
      microBatches: count,
      schedule: z.enum(['gpipe', '1f1b', 'interleaved', 'zero-bubble']),
      chunks: count,
    })
    .partial()
    .optional(),
  engine: z
    .strictObject({ type: z.literal('native'), device: z.literal('cpu'), threads: count.max(1024) })
    .partial()
    .optional(),
});

/** Keys of a section, for "did you mean". */
function knownKeys(path: readonly PropertyKey[]): string[] {
  let node: z.ZodType = schema;
  for (const part of path) {
    while (node instanceof z.ZodOptional) node = node.unwrap() as z.ZodType;
    if (!(node instanceof z.ZodObject)) return [];
    const next = (node.shape as Record<string, z.ZodType>)[String(part)];
    if (next === undefined) return [];
    node = next;
  }
  while (node instanceof z.ZodOptional) node = node.unwrap() as z.ZodType;
  return node instanceof z.ZodObject ? Object.keys(node.shape) : [];
}

/** Edits (insert, delete, replace) between two words: Levenshtein's distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (node, key) => (node as Record<PropertyKey, unknown> | undefined)?.[key],
    value,
  );
}

function show(value: unknown): string {
  const text = JSON.stringify(value) as string | undefined;
  return text === undefined ? 'undefined' : text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

const kinds: Partial<Record<string, string>> = {
  int: 'a whole number',
  object: 'an object',
  tuple: 'a list of two numbers',
  array: 'a list',
};

/** What a bound of zod counts. */
function unit(origin: string): string {
  return origin === 'array' ? ' element(s)' : origin === 'string' ? ' character(s)' : '';
}

/** What an issue of zod says is allowed. */
function allowed(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'invalid_value':
      return issue.values.map((value) => show(value)).join(', ');
    case 'invalid_type':
      return kinds[issue.expected] ?? `a ${issue.expected}`;
    case 'too_small':
      return `${issue.inclusive === false ? 'more than' : 'at least'} ${String(issue.minimum)}${unit(issue.origin)}`;
    case 'too_big':
      return `${issue.inclusive === false ? 'less than' : 'at most'} ${String(issue.maximum)}${unit(issue.origin)}`;
    default:
      return issue.message;
  }
}

function describe(issue: z.core.$ZodIssue, value: unknown): string[] {
  const path = issue.path.map(String).join('.');
  if (issue.code === 'unrecognized_keys') {
    const known = knownKeys(issue.path);
    return issue.keys.map((key) => {
      const near = known.filter((name) => distance(name.toLowerCase(), key.toLowerCase()) <= 2);
      const hint = near.length > 0 ? `did you mean ${near.join(' or ')}? ` : '';
      return `${path ? `${path}.` : ''}${key} is not known: ${hint}Allowed: ${known.join(', ')}`;
    });
  }
  return [`${path || 'configuration'} is ${show(valueAt(value, issue.path))}: allowed is ${allowed(issue)}`];
}

/** Fills in defaults; `value` has passed the schema. */
function fill(value: RunConfiguration): ResolvedConfiguration {
  const preset = value.model?.preset ?? 'gpt2-nano';
  const { dropout = 0, ...shape } = { ...presets[preset], ...value.model };
  const training = value.training ?? {};
  const steps = training.steps ?? 200;
  const data = value.data ?? {};
  const first = data.text?.[0]
    ?.split(/[\\/]/)
    .at(-1)
    ?.replace(/\.[^.]*$/, '');
  return {
    name: value.name ?? `${preset} · ${first ?? 'random tokens'}`,
    model: { ...shape, preset, dropout },
    data: {
      text: data.text ?? [],
      dummy: data.dummy ?? false,
      tokenizer: data.tokenizer ?? 'gpt2',
      // Given for another tokenizer it is kept, for a rule to refuse.
      ...(data.vocabularySize !== undefined || data.tokenizer === 'bpe'
        ? { vocabularySize: data.vocabularySize ?? 2048 }
        : {}),
      validation: data.validation ?? 0.05,
    },
    training: {
      steps,
      batchSize: training.batchSize ?? 8,
      sequenceLength: training.sequenceLength ?? Math.min(256, shape.contextLength),
      seed: training.seed ?? 42,
      precision: training.precision ?? 'fp32',
      optimizer: {
        type: 'adamw',
        learningRate: 3e-4,
        betas: [0.9, 0.95],
        epsilon: 1e-8,
        weightDecay: 0.1,
        clipNorm: 1,
        ...training.optimizer,
      },
      schedule: {
        type: 'cosine',
        warmupSteps: Math.min(100, Math.floor(steps / 10)),
        minimumRatio: 0.1,
        ...training.schedule,
      },
      evaluateEvery: training.evaluateEvery ?? 50,
      checkpointEvery: training.checkpointEvery ?? 100,
      keepCheckpoints: training.keepCheckpoints ?? 2,
      keepEvery: training.keepEvery ?? 0,
      activationCheckpointing: training.activationCheckpointing ?? false,
      onDivergence: training.onDivergence ?? 'stop',
      spikeFactor: training.spikeFactor ?? 0,
      maxRestarts: training.maxRestarts ?? 0,
    },
    parallel: {
      data: 1,
      pipeline: 1,
      tensor: 1,
      tensorMode: '1d',
      sequenceParallel: false,
      zero: 0,
      offload: 'none',
      microBatches: 1,
      schedule: '1f1b',
      chunks: 1,
      ...value.parallel,
    },
    engine: { type: 'native', device: 'cpu', ...value.engine },
  };
}

/** Paths of what an issue of zod finds fault with. */
function faults(issue: z.core.$ZodIssue): PropertyKey[][] {
  return issue.code === 'unrecognized_keys'
    ? issue.keys.map((key) => [...issue.path, key])
    : [[...issue.path]];
}

/** `value` without what lies at `paths`; a list loses all of itself with one of its elements. */
function without(value: unknown, paths: readonly (readonly PropertyKey[])[]): unknown {
  const copy = JSON.parse(JSON.stringify(value ?? {})) as unknown;
  for (const path of paths) {
    let node = copy;
    for (const [depth, key] of path.entries()) {
      const next = (node as Record<PropertyKey, unknown> | undefined)?.[key];
      if (depth < path.length - 1 && !Array.isArray(next)) node = next;
      else {
        delete (node as Record<PropertyKey, unknown> | undefined)?.[key];
        break;
      }
    }
  }
  return copy;
}

/**
 * Validates a configuration and fills in every default. Pure: paths are kept as they are given.
 * Returns all problems at once, one line each; for a plan those are none that only keep this version from running it.
 */
export function resolveConfiguration(
  value: unknown,
  purpose: 'run' | 'plan' = 'run',
): { config: ResolvedConfiguration } | { problems: string[] } {
  const { error } = schema.safeParse(value);
  const problems = (error?.issues ?? []).flatMap((issue) => describe(issue, value));
  const faulty = (error?.issues ?? []).flatMap(faults);
  if (faulty.some((path) => path.length === 0)) return { problems };
  // JSON has no undefined: keys given as undefined count as left out.
  const config = fill(without(value, faulty) as RunConfiguration);
  const names = faulty.map((path) => path.map(String).join('.'));
  const all = [...rules, ...tensorRules, ...(purpose === 'run' ? runRules : [])];
  for (const { keys, problem } of all) {
    const readsFault = keys.some((key) =>
      names.some((name) => `${name}.`.startsWith(`${key}.`) || `${key}.`.startsWith(`${name}.`)),
    );
    const found = readsFault ? undefined : problem(config);
    if (found !== undefined) problems.push(found);
  }
  return problems.length > 0 ? { problems } : { config };
}
