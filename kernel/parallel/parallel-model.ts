/**
 * One rank's part of a model in training: parameters shared out over the replicas, a stage of the pipeline, an optimizer
 * for what this rank updates. All ranks call the same methods in the same order.
 */
import type { Engine, Tensor } from '../engine/engine.ts';
import type { ResolvedConfiguration } from '../protocol/configuration.ts';
import type { Batch } from '../training/data/batches.ts';
import type { StatePiece } from '../training/checkpoint.ts';
import { AdamW } from '../training/optimizer.ts';
import { isNorm, modelUnits, type GptShape, type Share, type Unit } from '../training/parameters.ts';
import { stageSpans } from './pipeline/layers.ts';
import { pipelineSchedule } from './pipeline/schedule.ts';
import { StageExecution } from './pipeline/stage-execution.ts';
import { layerShare } from './tensor/layer-share.ts';
import type { World } from './world.ts';
import { piecesOf, shardOf } from './zero/layout.ts';
import { ShardedParameters } from './zero/sharded-parameters.ts';

/** What a step came to, over all ranks. */
export interface StepResult {
  /** Sum of the losses of all tokens, nats. */
  readonly loss: number;
  /** Global L2 norm of the gradient before clipping. */
  readonly gradientNorm: number;
}

/** Who looks at what a step came to. */
export interface StepJudge {
  readonly judgesFirst: boolean;
  accept(result: StepResult): boolean;
}

/** Where batches come from: sequences by their number since the start of training. */
export interface Sequences {
  batch(first: number, count: number): Batch;
}

/** See above. */
export class ParallelModel {
  readonly parameters: ShardedParameters;
  readonly #engine: Engine;
  readonly #config: ResolvedConfiguration;
  readonly #world: World;
  readonly #stage: StageExecution;
  readonly #optimizer: AdamW;
  /** Losses of all tokens of a step, micro-batch after micro-batch and within it replica after replica. */
  readonly #losses: Tensor;
  readonly #lossesOfMicroBatch: Tensor[] = [];
  readonly #B: number;
  /** The unit that first and last stage hold where the head is tied; counted, and saved, by the first. */
  readonly #shared: string;
  readonly #ownsShared: boolean;
  readonly #share: Share;

  /** `directory` is where what is offloaded lies. */
  constructor(
    engine: Engine,
    shape: GptShape,
    config: ResolvedConfiguration,
    world: World,
    directory: string,
  ) {
    const { training, parallel } = config;
    const { data, pipeline, microBatches, chunks, schedule, zero, offload } = parallel;
    this.#engine = engine;
    this.#config = config;
    this.#world = world;
    this.#B = training.batchSize / (data * microBatches);
    this.#losses = engine.allocate('f32', [training.batchSize * training.sequenceLength]);
    const { sharers } = world;
    const share = layerShare(engine, sharers, parallel.sequenceParallel);
    this.#share = share;
    const units = modelUnits(shape, share);
    const { pipeline: stage } = world.place;
    const spans = stageSpans(shape.layers, pipeline, chunks, stage);
    const held = new Set<Unit>();
    for (const { first, end, embedding, head } of spans) {
      if (embedding) held.add(units.tokens).add(units.positions);
      for (const block of units.blocks.slice(first, end)) held.add(block);
      if (head) held.add(units.finalNorm).add(units.head);
    }
    const isShared = shape.tieHead && world.ends !== undefined;
    this.#shared = units.tokens.name;
    this.#ownsShared = !isShared || stage === 0;
    this.parameters = new ShardedParameters({
      engine,
      units: units.all.filter((unit) => held.has(unit)),
      replicas: world.replicas,
      stage: zero,
      microBatches,
      momentDirectory: offload === 'optimizer' ? directory : undefined,
      ...(isShared ? { shared: { unit: units.tokens, group: world.ends } } : {}),
      ...(sharers && share.tokens.count > 1 ? { partial: { belongs: isNorm, group: sharers } } : {}),
    });
    this.#stage = new StageExecution({
      engine,
      size: {
        ...{ shape, B: this.#B, T: training.sequenceLength },
        ...{ shares: share.count, tokenShares: share.tokens.count },
      },
      options: training,
      keeper: this.parameters,
      share,
      schedule: pipelineSchedule(schedule, { stages: pipeline, microBatches, chunks }),
      stage,
      links: world.links,
    });
    const counts = ({ name }: Unit): boolean => this.#ownsShared || name !== units.tokens.name;
    const { everyone } = world;
    this.#optimizer = new AdamW(engine, training.optimizer, this.parameters.regions(), {
      ...this.parameters.normPieces(units.all, counts, share),
      ...(everyone ? { exchange: (squaresK: Tensor) => engine.wait(everyone.allReduce(squaresK)) } : {}),
    });
  }

  /** Queues the initial weights, which depend on the seed alone. */
  initialise(seed: number): void {
    this.parameters.initialise(seed);
  }

  /**
   * One optimizer step on the sequences from number `firstSequence` on; `step` counts from 1. The judge hears what it came to;
   * one that judges first has it before the update, which is left out when it does not accept it.
   */
  async step(
    step: number,
    learningRate: number,
    sequences: Sequences,
    firstSequence: number,
    judge: StepJudge,
  ): Promise<StepResult> {
    const { batchSize, sequenceLength, seed } = this.#config.training;
    const first = (microBatch: number): number => firstSequence + this.#part(microBatch) * this.#B;
    this.#clearLosses();
    this.#stage.train({
      lossScale: 1 / (batchSize * sequenceLength),
      batch: (microBatch) => sequences.batch(first(microBatch), this.#B),
      dropout: (microBatch) => ({ seed, firstSequence: first(microBatch) }),
      lossesN: (microBatch) => this.#lossesOf(microBatch),
    });
    const losses = this.#readLosses();
    this.parameters.finishGradients();
    this.#optimizer.measure();
    const squaredNorm = this.#engine.read(this.#optimizer.squaredNorm);
    const result = async (): Promise<StepResult> => ({
      loss: sum(await losses),
      gradientNorm: Math.sqrt((await squaredNorm)[0] ?? Number.NaN),
    });
    // Read before the update is queued, the engine waits for the answer; otherwise the two overlap.
    const early = judge.judgesFirst ? await result() : undefined;
    if (early && !judge.accept(early)) return early;
    this.#optimizer.update(step, learningRate);
    this.parameters.spreadValues();
    if (early) return early;
    const late = await result();
    judge.accept(late);
    return late;
  }

  /** Queues what must be over before other values are loaded into this rank's pieces. */
  prepareLoading(): void {
    this.parameters.forget();
  }

  /** Batches that `evaluate` takes at once. */
  get evaluationRound(): number {
    const { data, microBatches } = this.#config.parallel;
    return data * microBatches;
  }

  /** The sum of the losses of up to `evaluationRound` batches of as many sequences as a micro-batch has. */
  async evaluate(batches: readonly Batch[]): Promise<number> {
    const N = this.#B * this.#config.training.sequenceLength;
    const nothing: Batch = { tokens: new Int32Array(N), targets: new Int32Array(N).fill(-1) };
    this.#clearLosses();
    // Replicas without a batch take part all the same: they bring their shards of the parameters.
    this.#stage.evaluate(Math.ceil(batches.length / this.#config.parallel.data), {
      batch: (microBatch) => batches[this.#part(microBatch)] ?? nothing,
      lossesN: (microBatch) => this.#lossesOf(microBatch),
    });
    return sum(await this.#readLosses());
  }

  /** What this rank writes into a checkpoint: all ranks together write everything once. */
  piecesToSave(): StatePiece[] {
    return this.#pieces(false);
  }

  /** What this rank reads from a checkpoint: all that it holds. */
  piecesToLoad(): StatePiece[] {
    return this.#pieces(true);
  }

  #pieces(all: boolean): StatePiece[] {
    const { parameters } = this;
    const { replica, numReplicas, stage } = parameters;
    const everyReplica = Array.from({ length: numReplicas }, (_, index) => index);
    return parameters.buffers.flatMap((buffer) => {
      const { layout, unit, values, shard, m, v } = buffer;
      if (!all && !this.#ownsShared && unit.name === this.#shared) return [];
      if (!all && this.#share.index > 0 && !layout.sliced) return [];
      const shards = (part: StatePiece['part'], whole: Tensor | undefined, own: Tensor): StatePiece[] =>
        (all && whole ? everyReplica : [replica]).flatMap((each) =>
          piecesOf(layout, each).map(({ specification, from, at, length }) => ({
            part,
            specification,
            from,
            tensor: (each === replica ? own : shardOf(whole ?? own, layout, each)).view(at, [length]),
          })),
        );
      return [
        ...shards('values', values, shard),
        ...shards('m', stage === 0 ? m : undefined, parameters.momentShard(buffer, 'm')),
        ...shards('v', stage === 0 ? v : undefined, parameters.momentShard(buffer, 'v')),
      ];
    });
  }

  /** The place of a micro-batch of this replica among all of the step. */
  #part(microBatch: number): number {
    return microBatch * this.#config.parallel.data + this.#world.place.data;
  }

  #lossesOf(microBatch: number): Tensor {
    const N = this.#B * this.#config.training.sequenceLength;
    return (this.#lossesOfMicroBatch[microBatch] ??= this.#losses.view(this.#part(microBatch) * N, [N]));
  }

  #clearLosses(): void {
    this.#engine.fill(this.#losses, 0);
  }

  /** The losses of all ranks; of those that compute the same, the first one's. */
  #readLosses(): Promise<Float32Array | Int32Array> {
    const { everyone } = this.#world;
    if (this.#share.index > 0) this.#clearLosses();
    if (everyone) this.#engine.wait(everyone.allReduce(this.#losses));
    return this.#engine.read(this.#losses);
  }
}

function sum(values: Float32Array | Int32Array): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
