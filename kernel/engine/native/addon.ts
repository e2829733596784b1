/** Types of the Rust addon (src/bindings.rs) and its loading from `dist/native/gpt-lab.node`. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { distFile } from '../../home.ts';

/** A range of an allocation's elements. */
export interface Region {
  /** `length` elements from element `offset` of the allocation (not of this region). */
  view(offset: number, length: number): Region;
}

/** A point in the queue of an engine or of a collective. */
export interface QueueEvent {
  /** Whether everything queued before it has run. */
  readonly happened: boolean;
}

/** Random numbers, with a probability for dropout. */
export interface Random {
  readonly seed: number;
  readonly stream: number;
  readonly offset: number;
  readonly probability?: number;
}

/** Hyper-parameters of one AdamW step. */
export interface AddonAdamWSettings {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
  readonly step: number;
}

/** The queue of one engine; small letters are sizes (see engine.ts). Nothing but lengths is checked here. */
export interface AddonEngine {
  readonly threads: number;
  readonly waitedSeconds: number;
  allocate(type: string, length: number, directory: string | null): Region;
  evict(region: Region): void;
  release(region: Region): void;
  write(region: Region, values: Uint8Array): void;
  read(region: Region, target: Uint8Array): Promise<void>;
  finish(): Promise<void>;
  /** Fills `target` (2 numbers) with operations a second of products in the caches: f32, bf16. */
  measurePeaks(target: Float64Array): Promise<void>;
  record(): QueueEvent;
  wait(event: QueueEvent): void;
  dispose(): Promise<void>;
  fill(out: Region, value: number): void;
  copy(out: Region, x: Region): void;
  add(out: Region, a: Region, b: Region): void;
  scale(out: Region, x: Region, factor: number): void;
  randomNormal(out: Region, deviation: number, key: Random): void;
  dropout(out: Region, x: Region, key: Random): void;
  embedding(
    out: Region,
    tokens: Region,
    wte: Region,
    wpe: Region | null,
    t: number,
    firstPosition: number,
    c: number,
  ): void;
  embeddingBackward(dwte: Region, dwpe: Region, dout: Region, tokens: Region, t: number, c: number): void;
  layerNorm(out: Region, mean: Region, rstd: Region, x: Region, gamma: Region, beta: Region): void;
  addLayerNorm(
    sum: Region,
    out: Region,
    mean: Region,
    rstd: Region,
    residual: Region,
    x: Region,
    gamma: Region,
    beta: Region,
  ): void;
  layerNormBackward(
    dx: Region,
    dgamma: Region,
    dbeta: Region,
    dout: Region,
    x: Region,
    mean: Region,
    rstd: Region,
    gamma: Region,
  ): void;
  linear(out: Region, x: Region, w: Region, bias: Region | null, n: number, i: number, o: number): void;
  linearActivation(
    out: Region,
    pre: Region | null,
    x: Region,
    w: Region,
    bias: Region | null,
    erf: boolean,
    n: number,
    i: number,
    o: number,
  ): void;
  linearInputGradient(
    dx: Region,
    dout: Region,
    w: Region,
    pre: Region | null,
    erf: boolean,
    n: number,
    i: number,
    o: number,
  ): void;
  linearWeightGradient(
    dw: Region,
    dbias: Region | null,
    x: Region,
    dout: Region,
    fresh: boolean,
    n: number,
    i: number,
    o: number,
  ): void;
  attention(
    out: Region,
    logSumExp: Region,
    qkv: Region,
    b: number,
    t: number,
    h: number,
    c: number,
    dropout?: Random,
  ): void;
  attentionBackward(
    dqkv: Region,
    dout: Region,
    out: Region,
    logSumExp: Region,
    qkv: Region,
    b: number,
    t: number,
    h: number,
    c: number,
    dropout?: Random,
  ): void;
  cachedAttention(
    out: Region,
    qkv: Region,
    keys: Region,
    values: Region,
    b: number,
    count: number,
    h: number,
    c: number,
    position: number,
    maximum: number,
  ): void;
  crossEntropy(
    losses: Region,
    x: Region,
    whead: Region,
    targets: Region,
    c: number,
    dx: Region | null,
    dwhead: Region | null,
    scale: number,
    fresh: boolean,
  ): void;
  vocabularyPart(
    maxima: Region,
    sums: Region,
    targetLogits: Region,
    x: Region,
    whead: Region,
    targets: Region,
    c: number,
  ): void;
  rescaleSums(sums: Region, maxima: Region, maximum: Region): void;
  vocabularyLosses(
    losses: Region,
    maximum: Region,
    sums: Region,
    targetLogits: Region,
    targets: Region,
  ): void;
  vocabularyPartBackward(
    dx: Region,
    dwhead: Region,
    x: Region,
    whead: Region,
    targets: Region,
    losses: Region,
    maximum: Region,
    sums: Region,
    c: number,
    scale: number,
    fresh: boolean,
  ): void;
  logits(out: Region, x: Region, whead: Region, n: number, c: number): void;
  squaredNorm(out: Region, x: Region): void;
  clipFactor(factor: Region, squared: Region, maximum: number): void;
  adamw(
    parameters: Region,
    gradients: Region,
    m: Region,
    v: Region,
    factor: Region | null,
    settings: AddonAdamWSettings,
  ): void;
}

/** How a rank joins a collective. */
export interface AddonSharedMemorySettings {
  readonly rank: number;
  readonly size: number;
  readonly address?: string;
  readonly chunkBytes: number;
  readonly joinSeconds: number;
  readonly stallSeconds?: number;
}

/** One rank's end of a collective over shared memory. */
export interface AddonSharedMemory {
  readonly address: string;
  group(ranks: readonly number[]): AddonSharedMemoryGroup;
  finish(): Promise<void>;
  close(): Promise<void>;
  statistics(): {
    operation: string;
    calls: number;
    bytesSent: number;
    bytesReceived: number;
    seconds: number;
  }[];
  current(): { call: string; seconds: number }[];
}

/** A group of its ranks, which are numbered as in the world. */
export interface AddonSharedMemoryGroup {
  allReduce(x: Region, max: boolean, after: QueueEvent): QueueEvent;
  reduceScatter(out: Region, x: Region, max: boolean, after: QueueEvent): QueueEvent;
  allGather(out: Region, x: Region, after: QueueEvent): QueueEvent;
  broadcast(x: Region, root: number, after: QueueEvent): QueueEvent;
  send(x: Region, to: number, after: QueueEvent): QueueEvent;
  receive(out: Region, from: number, after: QueueEvent): QueueEvent;
  barrier(after: QueueEvent): QueueEvent;
}

/** What the addon exports. */
export interface Addon {
  readonly NativeEngine: new (threads: number) => AddonEngine;
  readonly QueueEvent: new () => QueueEvent;
  /** Not on Windows. */
  readonly SharedMemory?: new (settings: AddonSharedMemorySettings) => AddonSharedMemory;
  maximumSharedMemoryRanks(): number;
  availableThreads(): number;
  instructions(): 'avx512bf16' | 'avx512' | 'avx2' | 'portable';
  /** What `GPT_LAB_INSTRUCTIONS` may force on this machine, best first. */
  instructionSets(): string[];
}

let loaded: Addon | undefined;

/** The addon, loaded once. Throws an Error that says how to build it when it is not there. */
export function loadAddon(): Addon {
  if (loaded) return loaded;
  const file = distFile('native', 'gpt-lab.node');
  if (!existsSync(file))
    throw new Error(
      `The native engine is not built: ${file} is missing. Run "npm run build" in the repository, or reinstall the extension for this platform`,
    );
  loaded = createRequire(import.meta.url)(file) as Addon;
  return loaded;
}
