/**
 * Checkpoints: a folder per step, `step-00000100/`, with the weights (`model.safetensors`, Hugging Face's names), the
 * optimizer's moments and a manifest. Written aside and renamed: a checkpoint is complete or absent.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Engine } from '../engine/engine.ts';
import type { ResolvedConfiguration } from '../protocol/configuration.ts';
import { tokenizerHash, type TokenizerSpecification } from './data/tokenizer.ts';
import {
  parameterSpecifications,
  type GptShape,
  type ParameterSet,
  type ParameterSpecification,
} from './parameters.ts';
import { readSafetensors, writeSafetensors, type FileSummary } from './safetensors.ts';

/** Checkpoints of a run that are kept; older ones are removed once a newer one is complete. */
const KEPT = 2;
/** How the folder of a checkpoint that is being written begins. */
const ASIDE = '.writing-';
const MODEL_FILE = 'model.safetensors';
const OPTIMIZER_FILE = 'optimizer.safetensors';
const MANIFEST_FILE = 'manifest.json';

const manifestSchema = z.object({
  format: z.literal('gpt-lab-checkpoint'),
  version: z.literal(1),
  step: z.int().min(0),
  /** Sequences taken from the data so far: where the next step goes on. */
  sequences: z.int().min(0),
  config: z.custom<ResolvedConfiguration>((value) => typeof value === 'object' && value !== null),
  shape: z.custom<GptShape>((value) => typeof value === 'object' && value !== null),
  tokenizer: z.custom<TokenizerSpecification>((value) => typeof value === 'object' && value !== null),
  tokenizerHash: z.string(),
  /** Identifies texts and tokenizer; absent for random tokens. */
  corpusHash: z.string().optional(),
  files: z.record(z.string(), z.object({ bytes: z.number(), sha256: z.string() })),
});

/** What a checkpoint says of itself. */
export type Manifest = z.infer<typeof manifestSchema>;

/** All that a run needs to go on, on the device. */
export interface TrainingState {
  readonly specifications: readonly ParameterSpecification[];
  readonly parameters: ParameterSet;
  readonly m: ParameterSet;
  readonly v: ParameterSet;
}

/** Folder name of a step's checkpoint; sorts by step. */
export function checkpointName(step: number): string {
  return `step-${String(step).padStart(8, '0')}`;
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  await folder.sync().finally(() => folder.close());
}

/** Writes a checkpoint of `state` after `manifest.step` into `directory`; returns its folder. */
export async function saveCheckpoint(
  engine: Engine,
  directory: string,
  state: TrainingState,
  manifest: Omit<Manifest, 'format' | 'version' | 'tokenizerHash' | 'files'>,
): Promise<string> {
  const target = join(directory, checkpointName(manifest.step));
  await removeUnfinished(directory);
  const aside = join(directory, `${ASIDE}${randomUUID()}`);
  await mkdir(aside, { recursive: true });
  try {
    const { specifications, parameters } = state;
    const files: Record<string, FileSummary> = {};
    files[MODEL_FILE] = await writeSafetensors(
      join(aside, MODEL_FILE),
      specifications,
      async ({ name }) => (await engine.read(parameters.get(name))) as Float32Array,
    );
    const moments = (['m', 'v'] as const).flatMap((moment) =>
      specifications.map(({ name, shape }) => ({
        name: `${moment}.${name}`,
        shape,
        set: state[moment],
        of: name,
      })),
    );
    const byName = new Map(moments.map((moment) => [moment.name, moment.set.get(moment.of)]));
    files[OPTIMIZER_FILE] = await writeSafetensors(join(aside, OPTIMIZER_FILE), moments, async ({ name }) => {
      const tensor = byName.get(name);
      if (tensor === undefined) throw new Error(`No moment ${name}`);
      return (await engine.read(tensor)) as Float32Array;
    });
    const text: Manifest = {
      format: 'gpt-lab-checkpoint',
      version: 1,
      ...manifest,
      tokenizerHash: tokenizerHash(manifest.tokenizer),
      files,
    };
    const file = await open(join(aside, MANIFEST_FILE), 'w');
    await file
      .writeFile(JSON.stringify(text, null, 2))
      .then(() => file.sync())
      .finally(() => file.close());
    await syncFolder(aside);
    // The same step may exist: a resumed run saves it again.
    await rm(target, { recursive: true, force: true });
    await rename(aside, target);
    await syncFolder(directory);
  } catch (error) {
    await rm(aside, { recursive: true, force: true });
    throw error;
  }
  await removeOld(directory);
  return target;
}

/** What a rank that was killed left half written. Only one rank writes into a run's folder. */
async function removeUnfinished(directory: string): Promise<void> {
  const names = await readdir(directory).catch(() => [] as string[]);
  for (const name of names.filter((each) => each.startsWith(ASIDE)))
    await rm(join(directory, name), { recursive: true, force: true });
}

async function removeOld(directory: string): Promise<void> {
  const names = (await readdir(directory)).filter((name) => name.startsWith('step-')).sort();
  for (const name of names.slice(0, -KEPT)) await rm(join(directory, name), { recursive: true, force: true });
}

/** Reads a checkpoint's manifest. Throws an Error that names the folder when it is not one or is damaged. */
export async function readManifest(folder: string): Promise<Manifest> {
  let text: string;
  try {
    text = await readFile(join(folder, MANIFEST_FILE), 'utf8');
  } catch (error) {
    throw new Error(`${folder} is not a checkpoint: it has no readable ${MANIFEST_FILE}`, { cause: error });
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`The checkpoint ${folder} is damaged: ${MANIFEST_FILE} is not JSON`, { cause: error });
  }
  const manifest = manifestSchema.safeParse(value);
  if (!manifest.success) {
    throw new Error(
      `The checkpoint ${folder} was written by another version: ${z.prettifyError(manifest.error)}`,
    );
  }
  return manifest.data;
}

async function load(
  engine: Engine,
  folder: string,
  file: string,
  manifest: Manifest,
  names: readonly string[],
  target: (name: string) => ReturnType<ParameterSet['get']>,
): Promise<void> {
  const missing = new Set(names);
  const summary = await readSafetensors(join(folder, file), ({ name, shape }, values) => {
    if (!missing.delete(name)) throw new Error(`${join(folder, file)} holds an unexpected tensor ${name}`);
    const tensor = target(name);
    if (tensor.shape.join() !== shape.join()) {
      throw new Error(
        `${join(folder, file)}: ${name} is [${shape.join()}], the model's is [${tensor.shape.join()}]`,
      );
    }
    engine.write(tensor, values);
  });
  if (summary.sha256 !== manifest.files[file]?.sha256) {
    throw new Error(
      `The checkpoint ${folder} is damaged: the checksum of ${file} does not match its manifest`,
    );
  }
  if (missing.size > 0) throw new Error(`${join(folder, file)} lacks ${[...missing].join(', ')}`);
}

/** Queues a checkpoint's weights into `parameters`. Throws an Error naming what is damaged or does not fit. */
export async function loadWeights(
  engine: Engine,
  folder: string,
  manifest: Manifest,
  parameters: ParameterSet,
): Promise<void> {
  const names = parameterSpecifications(manifest.shape).map(({ name }) => name);
  await load(engine, folder, MODEL_FILE, manifest, names, (name) => parameters.get(name));
}

/** Queues weights and moments: the run then goes on as if it had never stopped. */
export async function loadTrainingState(
  engine: Engine,
  folder: string,
  manifest: Manifest,
  state: TrainingState,
): Promise<void> {
  await loadWeights(engine, folder, manifest, state.parameters);
  const names = (['m', 'v'] as const).flatMap((moment) =>
    state.specifications.map(({ name }) => `${moment}.${name}`),
  );
  await load(engine, folder, OPTIMIZER_FILE, manifest, names, (name) =>
    state[name.startsWith('m.') ? 'm' : 'v'].get(name.slice(2)),
  );
}

/** The newest complete checkpoint of a run's checkpoint folder, or undefined. */
export async function newestCheckpoint(directory: string): Promise<string | undefined> {
  const names = await readdir(directory).catch(() => [] as string[]);
  const newest = names
    .filter((name) => name.startsWith('step-'))
    .sort()
    .at(-1);
  return newest === undefined ? undefined : join(directory, newest);
}
