import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Engine } from '../engine/engine.ts';
import { openEngine } from '../engine/open.ts';
import { resolveConfiguration } from '../protocol/configuration-schema.ts';
import { loadPieces, readManifest, saveCheckpoint, wholePieces, type StatePiece } from './checkpoint.ts';
import { initialise, ParameterSet, parameterSpecifications, type GptShape } from './parameters.ts';

const shape: GptShape = {
  ...{ layers: 1, width: 8, heads: 2, contextLength: 4, vocabularySize: 11, dropout: 0 },
  ...{ activation: 'gelu-tanh', tieHead: false },
};
const resolved = resolveConfiguration({ data: { dummy: true, tokenizer: 'byte' } });
assert.ok('config' in resolved);
const { config } = resolved;

let folder = '';
let engine: Engine;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gpt-lab-checkpoint-'));
  engine = openEngine({ type: 'native', threads: 1 });
});
after(async () => {
  await engine.dispose();
  await rm(folder, { recursive: true, force: true });
});

/** Weights and moments of a model that is held whole. */
interface TrainingState {
  readonly parameters: ParameterSet;
  readonly pieces: readonly StatePiece[];
}

/** Weights and moments drawn from a seed. */
function stateOf(seed: number, specifications = parameterSpecifications(shape)): TrainingState {
  const sets = [0, 1, 2].map((part) => {
    const set = new ParameterSet(engine, specifications);
    initialise(engine, set, specifications, seed + part);
    return set;
  });
  const [parameters] = sets;
  assert.ok(parameters);
  const parts = ['values', 'm', 'v'] as const;
  return {
    parameters,
    pieces: sets.flatMap((set, index) => wholePieces(specifications, parts[index] ?? 'v', set)),
  };
}

async function valuesOf({ pieces }: TrainingState): Promise<number[]> {
  const values = await Promise.all(pieces.map(({ tensor }) => engine.read(tensor)));
  return values.flatMap((each) => Array.from(each));
}

const save = (directory: string, state: TrainingState, step: number): Promise<string> =>
  saveCheckpoint(engine, directory, state.pieces, {
    ...{ step, sequences: step * 8, config, shape, tokenizer: { type: 'byte' } },
  });

test('weights and moments come back bit for bit', async () => {
  const saved = stateOf(1);
  const path = await save(join(folder, 'round'), saved, 3);
  assert.ok(path.endsWith('step-00000003'));
  const manifest = await readManifest(path);
  assert.deepEqual([manifest.step, manifest.sequences, manifest.shape], [3, 24, shape]);
  const loaded = stateOf(100);
  await loadPieces(engine, path, manifest, loaded.pieces);
  assert.deepEqual(await valuesOf(loaded), await valuesOf(saved));
});

test('the two newest are kept, the same step is replaced, and what a killed rank left is removed', async () => {
  const directory = join(folder, 'several');
  for (const step of [1, 2, 3]) await save(directory, stateOf(step), step);
  await mkdir(join(directory, '.writing-half'));
  await writeFile(join(directory, '.writing-half', 'model.safetensors'), 'half');
  const again = await save(directory, stateOf(9), 3);
  assert.deepEqual((await readdir(directory)).sort(), ['step-00000002', 'step-00000003']);
  const loaded = stateOf(100);
  await loadPieces(engine, again, await readManifest(again), loaded.pieces);
  assert.deepEqual(await valuesOf(loaded), await valuesOf(stateOf(9)));
});

test('a damaged or foreign checkpoint is refused with what is wrong with it', async () => {
  const path = await save(join(folder, 'damaged'), stateOf(1), 1);
  const manifest = await readManifest(path);
  const load = (): Promise<void> => loadPieces(engine, path, manifest, stateOf(100).pieces);
  const weights = join(path, 'model.safetensors');
  const bytes = await readFile(weights);

  const flipped = Buffer.from(bytes);
  flipped[flipped.length - 1] = (flipped.at(-1) ?? 0) ^ 1;
  await writeFile(weights, flipped);
  await assert.rejects(load(), /damaged: the checksum of model\.safetensors does not match its manifest/);
  await truncate(weights, bytes.length - 10);
  await assert.rejects(load(), /model\.safetensors is damaged: it ends after/);
  await writeFile(weights, 'no tensors at all');
  await assert.rejects(load(), /model\.safetensors is not a safetensors file/);
  const wider = { ...manifest, shape: { ...shape, width: 16 } };
  await writeFile(weights, bytes);
  const widerState = stateOf(100, parameterSpecifications(wider.shape));
  await assert.rejects(
    loadPieces(engine, path, wider, widerState.pieces),
    /wte\.weight is \[11,8\], the model's is \[11,16\]/,
  );

  const file = join(path, 'manifest.json');
  await writeFile(file, JSON.stringify({ ...manifest, version: 3 }));
  await assert.rejects(readManifest(path), /was written by another version: [^]*version/);
  await writeFile(file, '{');
  await assert.rejects(readManifest(path), /damaged: manifest\.json is not JSON/);
  await assert.rejects(readManifest(folder), /is not a checkpoint: it has no readable manifest\.json/);
});

test('the weights are a file that other programs read: a length, a JSON header, then the numbers', async () => {
  const state = stateOf(1);
  const bytes = await readFile(join(await save(join(folder, 'format'), state, 1), 'model.safetensors'));
  const length = Number(bytes.readBigUInt64LE(0));
  assert.equal(length % 8, 0);
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + length)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const { dtype, shape: size, data_offsets } = header['h.0.attn.c_attn.weight'] ?? assert.fail();
  assert.deepEqual([dtype, size], ['F32', [8, 24]]);
  const start = 8 + length + data_offsets[0];
  const stored = Array.from({ length: 8 * 24 }, (_, i) => bytes.readFloatLE(start + 4 * i));
  const values = await engine.read(state.parameters.get('h.0.attn.c_attn.weight'));
  assert.deepEqual(stored, Array.from(values));
});
