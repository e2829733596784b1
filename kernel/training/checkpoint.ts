/**
 * Checkpoints: a folder per step, `step-00000100/`, with the weights, the optimizer's moments and a manifest. A run on one
 * rank writes `model.safetensors` (Hugging Face's names) and `optimizer.safetensors`; of several ranks each writes a part
 * of both, and where it holds only some elements of a parameter, they are named `parameter[from:to]`. A checkpoint can be
 * loaded into any layout. Written aside and renamed: it is complete or absent.
 */
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Engine, Tensor } from '../engine/engine.ts';
import { alone, type Peers } from '../parallel/peers.ts';
import type { ResolvedConfiguration } from '../protocol/configuration.ts';
import { tokenizerHash, type TokenizerSpecification } from './data/tokenizer.ts';
import {
  elementsOf,
  parameterSpecifications,
  runsOf,
  type GptShape,
  type ParameterSet,
  type ParameterSpecification,
} from './parameters.ts';
import { readSafetensors, writeSafetensors, type FileSummary, type NamedTensor } from './safetensors.ts';

/** How the folder of a checkpoint that is being written begins. */
const ASIDE = '.writing-';
const MANIFEST_FILE = 'manifest.json';
const contents = ['model', 'optimizer'] as const;

const manifestSchema = z.object({
  format: z.literal('gpt-lab-checkpoint'),
  /** 1: one file each, with whole parameters; 2: any number of files and pieces. */
  version: z.union([z.literal(1), z.literal(2)]),
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

/** Consecutive elements of a parameter's values or of one of its moments, on the device. */
export interface StatePiece {
  readonly part: 'values' | 'm' | 'v';
  readonly specification: ParameterSpecification;
  /** First element of the parameter. */
  readonly from: number;
  readonly tensor: Tensor;
}

/** Folder name of a step's checkpoint; sorts by step. */
export function checkpointName(step: number): string {
  return `step-${String(step).padStart(8, '0')}`;
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  await folder.sync().finally(() => folder.close());
}

/** What a checkpoint says of itself beside how it is stored. */
export type CheckpointFacts = Omit<Manifest, 'format' | 'version' | 'tokenizerHash' | 'files'>;

/** Writes a checkpoint of `pieces` into `directory` and waits for it; see CheckpointInWriting. Returns its folder. */
export async function saveCheckpoint(
  engine: Engine,
  directory: string,
  pieces: readonly StatePiece[],
  facts: CheckpointFacts,
  peers: Peers = alone,
): Promise<string> {
  const checkpoint = await CheckpointInWriting.begin(engine, directory, pieces, facts, peers, false);
  return checkpoint.finish();
}

/**
 * A checkpoint on its way to the disk, each rank writing the pieces that it is given, from `begin` on; `finish` makes it a
 * checkpoint. All ranks call both at the same point of their work. Both throw an Error on all ranks when one of them could
 * not do its part.
 */
export class CheckpointInWriting {
  readonly facts: CheckpointFacts;
  readonly #directory: string;
  readonly #peers: Peers;
  readonly #written: Promise<FileSummary[]>;
  #isWriting = true;

  private constructor(
    directory: string,
    facts: CheckpointFacts,
    peers: Peers,
    written: Promise<FileSummary[]>,
  ) {
    this.facts = facts;
    this.#directory = directory;
    this.#peers = peers;
    const ended = (): void => {
      this.#isWriting = false;
    };
    written.then(ended, ended);
    this.#written = written;
  }

  /**
   * With `changes` the tensors may change at once, since a snapshot is written, which takes as much memory again; otherwise they
   * are read one after the other until `finish` has resolved.
   */
  static async begin(
    engine: Engine,
    directory: string,
    pieces: readonly StatePiece[],
    facts: CheckpointFacts,
    peers: Peers,
    changes: boolean,
  ): Promise<CheckpointInWriting> {
    const aside = asideOf(directory, facts);
    await together(peers, async () => {
      if (peers.rank > 0) return;
      await removeUnfinished(directory);
      await mkdir(aside, { recursive: true });
    });
    const snapshot = pieces.map((piece): PieceValues => {
      if (!changes) return { piece, values: () => engine.read(piece.tensor) };
      // Queued before whatever changes the tensor next.
      const values = engine.read(piece.tensor);
      values.catch(() => undefined); // told by whoever writes it
      return { piece, values: () => values };
    });
    return new CheckpointInWriting(directory, facts, peers, writePieces(aside, snapshot, peers));
  }

  /** Whether this rank's part is not on the disk yet. */
  get isWriting(): boolean {
    return this.#isWriting;
  }

  /** Waits for all parts and makes them a checkpoint; returns its folder. */
  async finish(): Promise<string> {
    const [directory, peers] = [this.#directory, this.#peers];
    const aside = asideOf(directory, this.facts);
    const target = join(directory, checkpointName(this.facts.step));
    try {
      const written = await together(peers, () => this.#written);
      const files = await allSummaries(written, peers);
      await together(peers, async () => {
        if (peers.rank > 0) return;
        const hash = tokenizerHash(this.facts.tokenizer);
        await writeManifest(aside, {
          ...{ format: 'gpt-lab-checkpoint', version: 2, ...this.facts, tokenizerHash: hash, files },
        });
        // The same step may exist: a resumed run saves it again.
        await rm(target, { recursive: true, force: true });
        await rename(aside, target);
        await syncFolder(directory);
      });
    } catch (error) {
      if (peers.rank === 0) await rm(aside, { recursive: true, force: true });
      throw error;
    }
    if (peers.rank === 0) await removeOld(directory, this.facts);
    return target;
  }
}

function asideOf(directory: string, { step }: CheckpointFacts): string {
  return join(directory, `${ASIDE}${checkpointName(step)}`);
}

/** Another rank could not do its part; it tells itself why. */
export class PeerFailed extends Error {
  override readonly name = 'PeerFailed';
}

/** What all ranks do. Throws on all of them, and when all have tried, where it fails on one. */
async function together<T>(peers: Peers, act: () => Promise<T>): Promise<T> {
  const outcome = await act().then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
  const [failed] = await peers.any('error' in outcome);
  if ('error' in outcome) throw outcome.error;
  if (failed) throw new PeerFailed('another rank could not do its part');
  return outcome.value;
}

/** The file of a rank. */
function fileName(content: string, rank: number, size: number): string {
  const number = (value: number): string => String(value).padStart(5, '0');
  return `${content}${size === 1 ? '' : `-${number(rank)}-of-${number(size)}`}.safetensors`;
}

/** A piece and its values. */
interface PieceValues {
  readonly piece: StatePiece;
  readonly values: () => Promise<Float32Array | Int32Array>;
}

/** The name and shape that a piece is stored under. */
function storedAs({ specification, from, tensor, part }: StatePiece): NamedTensor {
  const prefix = part === 'values' ? '' : `${part}.`;
  const { index = 0, count = 1 } = specification.slice?.share ?? {};
  const share = count === 1 ? '' : `@${index}/${count}`;
  const isWhole = tensor.length === elementsOf(specification);
  const range = isWhole ? '' : `[${from}:${from + tensor.length}]`;
  const shape = isWhole ? specification.shape : [tensor.length];
  return { name: `${prefix}${specification.name}${share}${range}`, shape };
}

async function writePieces(
  folder: string,
  snapshot: readonly PieceValues[],
  { rank, size }: Peers,
): Promise<FileSummary[]> {
  const summaries: FileSummary[] = [];
  for (const content of contents) {
    const stored = snapshot
      .filter(({ piece }) => (piece.part === 'values') === (content === 'model'))
      .sort(
        ({ piece: a }, { piece: b }) =>
          a.part.localeCompare(b.part) || a.specification.stream - b.specification.stream,
      )
      .map(({ piece, values }) => ({ ...storedAs(piece), values }));
    const path = join(folder, fileName(content, rank, size));
    summaries.push(
      await writeSafetensors(path, stored, async ({ values }) => (await values()) as Float32Array),
    );
  }
  return summaries;
}

/** The summaries of the files of all ranks: each is 32 bytes of hash and a length. */
async function allSummaries(own: readonly FileSummary[], peers: Peers): Promise<Record<string, FileSummary>> {
  const bytes = Buffer.alloc(40 * own.length);
  own.forEach((summary, index) => {
    bytes.write(summary.sha256, 40 * index, 'hex');
    bytes.writeDoubleLE(summary.bytes, 40 * index + 32);
  });
  const numbers = await peers.gather(new Int32Array(new Uint8Array(bytes).buffer));
  const all = Buffer.from(numbers.buffer, numbers.byteOffset, numbers.byteLength);
  const files: Record<string, FileSummary> = {};
  for (let rank = 0; rank < peers.size; rank++) {
    contents.forEach((content, index) => {
      const at = 40 * (rank * contents.length + index);
      files[fileName(content, rank, peers.size)] = {
        bytes: all.readDoubleLE(at + 32),
        sha256: all.toString('hex', at, at + 32),
      };
    });
  }
  return files;
}

async function writeManifest(folder: string, manifest: Manifest): Promise<void> {
  const file = await open(join(folder, MANIFEST_FILE), 'w');
  await file
    .writeFile(JSON.stringify(manifest, null, 2))
    .then(() => file.sync())
    .finally(() => file.close());
  await syncFolder(folder);
}

/** What a rank that was killed left half written. Only one rank writes into a run's folder. */
async function removeUnfinished(directory: string): Promise<void> {
  const names = await readdir(directory).catch(() => [] as string[]);
  for (const name of names.filter((each) => each.startsWith(ASIDE)))
    await rm(join(directory, name), { recursive: true, force: true });
}

/** Keeps what the configuration says of those up to this one. Later ones are of a past that the run has gone back behind. */
async function removeOld(directory: string, { step, config }: CheckpointFacts): Promise<void> {
  // Checkpoints of earlier versions do not say it.
  const { keepCheckpoints = 2, keepEvery = 0 } = config.training as Partial<
    ResolvedConfiguration['training']
  >;
  const newest = checkpointName(step);
  const names = (await readdir(directory)).filter((name) => name.startsWith('step-')).sort();
  const past = names.filter((name) => name <= newest);
  const kept = new Set(past.slice(-keepCheckpoints));
  if (keepEvery > 0)
    for (const name of past) if (Number(name.slice('step-'.length)) % keepEvery === 0) kept.add(name);
  for (const name of names)
    if (!kept.has(name)) await rm(join(directory, name), { recursive: true, force: true });
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

/** What a tensor of a file holds. */
interface Stored {
  readonly part: StatePiece['part'];
  readonly specification: ParameterSpecification;
  readonly from: number;
  readonly to: number;
}

/** The parameters of a checkpoint's model by name, whole or in shares of the layers. */
class StoredModel {
  readonly #shape: GptShape;
  readonly #shares = new Map<string, ReadonlyMap<string, ParameterSpecification>>();

  constructor(shape: GptShape) {
    this.#shape = shape;
  }

  /** Throws an Error when the model has no such parameter, or not of that shape. */
  parse(path: string, { name, shape }: NamedTensor): Stored {
    const parsed = /^(m\.|v\.)?(.*?)(?:@(\d+)\/(\d+))?(?:\[(\d+):(\d+)\])?$/.exec(name) ?? [];
    const [, prefix, parameter = '', index = '0', count = '1', from, to] = parsed;
    const part = prefix === 'm.' ? 'm' : prefix === 'v.' ? 'v' : 'values';
    const specification = this.#share(Number(index), Number(count)).get(parameter);
    if (specification === undefined) throw new Error(`${path} holds an unexpected tensor ${name}`);
    const range = { from: Number(from ?? 0), to: Number(to ?? elementsOf(specification)) };
    const wanted = from === undefined ? specification.shape : [range.to - range.from];
    if (range.to > elementsOf(specification) || shape.join() !== wanted.join())
      throw new Error(`${path}: ${name} is [${shape.join()}], the model's is [${wanted.join()}]`);
    return { part, specification, ...range };
  }

  #share(index: number, count: number): ReadonlyMap<string, ParameterSpecification> {
    const key = `${index}/${count}`;
    const known = this.#shares.get(key);
    if (known) return known;
    const specifications = parameterSpecifications(this.#shape, { index, count });
    const made = new Map(specifications.map((each) => [each.name, each]));
    this.#shares.set(key, made);
    return made;
  }
}

/** Elements that a stored tensor and a piece have in common: where they begin in each. */
interface Overlap {
  readonly stored: number;
  readonly piece: number;
  readonly length: number;
}

/** All of them, in ascending order. */
function* overlaps(stored: Stored, { specification, from, tensor }: StatePiece): Generator<Overlap> {
  const theirs = runsOf(stored.specification, stored.from, stored.to);
  const ours = runsOf(specification, from, from + tensor.length);
  let [left, right] = [theirs.next(), ours.next()];
  while (!left.done && !right.done) {
    const [a, b] = [left.value, right.value];
    const [first, last] = [Math.max(a.whole, b.whole), Math.min(a.whole + a.length, b.whole + b.length)];
    if (first < last)
      yield {
        stored: a.at + first - a.whole - stored.from,
        piece: b.at + first - b.whole - from,
        length: last - first,
      };
    if (a.whole + a.length < b.whole + b.length) left = theirs.next();
    else right = ours.next();
  }
}

/**
 * Queues what a checkpoint holds of the given pieces into their tensors, whatever layout wrote it. Only files that hold some
 * of them are read. Throws an Error naming what is damaged, does not fit or is missing.
 */
export async function loadPieces(
  engine: Engine,
  folder: string,
  manifest: Manifest,
  pieces: readonly StatePiece[],
): Promise<void> {
  const model = new StoredModel(manifest.shape);
  const nameOf = (part: string, { name }: ParameterSpecification): string => `${part} ${name}`;
  const wanted = Map.groupBy(pieces, ({ part, specification }) => nameOf(part, specification));
  const missing = new Map(pieces.map((piece) => [piece, piece.tensor.length]));
  for (const [file, { sha256 }] of Object.entries(manifest.files)) {
    const path = join(folder, file);
    const candidates = (stored: Stored): StatePiece[] =>
      wanted.get(nameOf(stored.part, stored.specification)) ?? [];
    const summary = await readSafetensors(
      path,
      (tensor, values) => {
        const stored = model.parse(path, tensor);
        for (const piece of candidates(stored)) {
          for (const { stored: at, piece: to, length } of overlaps(stored, piece)) {
            engine.write(piece.tensor.view(to, [length]), values.subarray(at, at + length));
            missing.set(piece, (missing.get(piece) ?? 0) - length);
          }
        }
      },
      (tensors) => {
        const all = tensors.map((tensor) => model.parse(path, tensor));
        return all.some((stored) => candidates(stored).some((piece) => !overlaps(stored, piece).next().done));
      },
    );
    if (summary && summary.sha256 !== sha256) {
      throw new Error(
        `The checkpoint ${folder} is damaged: the checksum of ${file} does not match its manifest`,
      );
    }
  }
  const lacking = [...missing].filter(([, elements]) => elements > 0).map(([piece]) => storedAs(piece).name);
  if (lacking.length > 0) throw new Error(`The checkpoint ${folder} lacks ${lacking.join(', ')}`);
}

/** The pieces of a quantity that is held whole. */
export function wholePieces(
  specifications: readonly ParameterSpecification[],
  part: StatePiece['part'],
  set: ParameterSet,
): StatePiece[] {
  return specifications.map((specification) => {
    const tensor = set.get(specification.name);
    return { part, specification, from: 0, tensor };
  });
}

/** Queues a checkpoint's weights into `parameters`. Throws an Error naming what is damaged or does not fit. */
export async function loadWeights(
  engine: Engine,
  folder: string,
  manifest: Manifest,
  parameters: ParameterSet,
): Promise<void> {
  const specifications = parameterSpecifications(manifest.shape);
  await loadPieces(engine, folder, manifest, wholePieces(specifications, 'values', parameters));
}

/** The complete checkpoints of a run's checkpoint folder, newest first. */
export async function completeCheckpoints(directory: string): Promise<string[]> {
  const names = await readdir(directory).catch(() => [] as string[]);
  return names
    .filter((name) => name.startsWith('step-'))
    .sort()
    .reverse()
    .map((name) => join(directory, name));
}
