/**
 * One stage of a pipeline at work: it takes the operations of its schedule in order, receives what they need from its
 * neighbours and sends on what they give. All calls of a step are queued without waiting; a receive is posted one operation
 * ahead, so that it runs beside the arithmetic.
 */
import type { Engine, EngineEvent, Tensor } from '../../engine/engine.ts';
import {
  Slot,
  Workspace,
  tokensOf,
  type PassOptions,
  type PassSize,
  type Span,
} from '../../training/activations.ts';
import type { Batch } from '../../training/data/batches.ts';
import {
  ModelPart,
  type DropoutPosition,
  type LayerShare,
  type MicroBatch,
  type ParameterKeeper,
} from '../../training/model.ts';
import type { Group } from '../collective/collective.ts';
import { stageSpans } from './layers.ts';
import type { Operation, PipelineSchedule } from './schedule.ts';
import { Turns } from './turns.ts';

/** How stages reach each other; stage numbers are ranks in both groups. */
export interface PipelineLinks {
  /** What activations travel on. */
  readonly forward: Group;
  /** What gradients travel on: apart, so that neither order depends on the other. */
  readonly backward: Group;
}

/** What a stage is made with. */
export interface StageSettings {
  readonly engine: Engine;
  readonly size: PassSize;
  readonly options: PassOptions;
  readonly keeper: ParameterKeeper;
  readonly share: LayerShare;
  readonly schedule: PipelineSchedule;
  readonly stage: number;
  /** Undefined with one stage. */
  readonly links: PipelineLinks | undefined;
}

/** The micro-batches of a step. */
export interface StepInput {
  readonly lossScale: number;
  batch(microBatch: number): Batch;
  dropout(microBatch: number): DropoutPosition;
  /** Where the losses [N] of a micro-batch go, on the last stage. */
  lossesN(microBatch: number): Tensor;
}

/** A chunk of a stage. */
interface Chunk {
  readonly span: Span;
  readonly part: ModelPart;
  readonly slots: Turns<Slot>;
  /** Its place among the virtual stages. */
  readonly virtual: number;
}

/** A micro-batch in a chunk, from its forward to the end of its backward. */
interface InFlight {
  readonly slot: Slot;
  /** The input stream, where it came from another stage. */
  readonly inputLC: Tensor | undefined;
}

/** A message that is on its way here. */
interface Arrival {
  readonly tensorLC: Tensor;
  readonly event: EngineEvent;
}

/** See above. */
export class StageExecution {
  readonly #engine: Engine;
  readonly #schedule: PipelineSchedule;
  readonly #stage: number;
  readonly #links: PipelineLinks | undefined;
  readonly #workspace: Workspace;
  readonly #chunks: readonly Chunk[];
  /** Residual streams and their gradients on their way between stages. */
  readonly #streams: Turns<Tensor>;
  readonly #inFlight = new Map<string, InFlight>();
  readonly #arrivals = new Map<string, Arrival>();

  constructor({ engine, size, options, keeper, share, schedule, stage, links }: StageSettings) {
    this.#engine = engine;
    this.#schedule = schedule;
    this.#stage = stage;
    this.#links = links;
    this.#workspace = new Workspace(engine, size, options);
    const spans = stageSpans(size.shape.layers, schedule.stages, schedule.chunks, stage);
    this.#chunks = spans.map((span, chunk) => ({
      span,
      part: new ModelPart({ engine, size, span, options, workspace: this.#workspace, keeper, share }),
      slots: new Turns(engine, () => new Slot(engine, size, span, options)),
      virtual: chunk * schedule.stages + stage,
    }));
    const LC = [tokensOf(size).L, size.shape.width];
    this.#streams = new Turns(engine, () => engine.allocate('f32', LC));
  }

  /** Whether the losses are computed here. */
  get hasHead(): boolean {
    return this.#chunks.some(({ span }) => span.head);
  }

  /** Queues forward and backward of all micro-batches. */
  train(input: StepInput): void {
    const operations = this.#schedule.operations[this.#stage] ?? [];
    this.#run(operations, (operation) => this.#operate(operation, input));
  }

  /** Queues a forward of each of `count` micro-batches, without dropout, and the losses. */
  evaluate(count: number, input: Pick<StepInput, 'batch' | 'lossesN'>): void {
    const operations = Array.from({ length: count }, (_, microBatch) =>
      this.#chunks.map((_each, chunk): Operation => ({ kind: 'forward', microBatch, chunk })),
    ).flat();
    this.#run(operations, (operation) => {
      const { part, span, slots } = this.#chunk(operation);
      const { slot, inputLC } = this.#forward(operation, input);
      if (span.head) part.losses(slot, input.lossesN(operation.microBatch));
      slots.give(slot, this.#sendForward(operation, slot));
      if (inputLC) this.#streams.give(inputLC);
    });
  }

  #run(operations: readonly Operation[], operate: (operation: Operation) => void): void {
    for (const [place, operation] of operations.entries()) {
      this.#post(operation);
      const next = operations[place + 1];
      if (next) this.#post(next);
      operate(operation);
    }
  }

  #operate(operation: Operation, input: StepInput): void {
    const { part, span, slots } = this.#chunk(operation);
    const { kind, microBatch } = operation;
    if (kind === 'forward') {
      const flight = this.#forward(operation, input, input.dropout(microBatch));
      // The output stays until the backward, for which the next stage must have received it.
      this.#sendForward(operation, flight.slot);
      this.#inFlight.set(keyOf(operation), flight);
      return;
    }
    const flight = this.#inFlight.get(keyOf(operation));
    if (!flight) throw new Error(`Stage ${this.#stage} has no forward before ${nameOf(operation)}`);
    const micro: MicroBatch = {
      index: microBatch,
      lossScale: input.lossScale,
      dropout: input.dropout(microBatch),
    };
    if (kind !== 'weight-gradient') {
      const dxLC = span.head ? this.#streams.take() : this.#arrived('backward', operation);
      const losses = span.head ? input.lossesN(microBatch) : undefined;
      part.backward(flight.slot, dxLC, micro, losses, kind === 'input-gradient');
      this.#streams.give(dxLC, this.#sendBackward(operation, dxLC));
    }
    if (kind === 'weight-gradient') part.weightGradients(flight.slot, micro);
    if (kind === 'input-gradient') return;
    this.#inFlight.delete(keyOf(operation));
    slots.give(flight.slot);
    if (flight.inputLC) this.#streams.give(flight.inputLC);
  }

  #forward(operation: Operation, input: Pick<StepInput, 'batch'>, dropout?: DropoutPosition): InFlight {
    const { part, span, slots } = this.#chunk(operation);
    const slot = slots.take();
    const inputLC = span.embedding ? undefined : this.#arrived('forward', operation);
    if (inputLC) slot.streamLC[0] = inputLC;
    if (span.embedding || span.head) {
      const { tokens, targets } = input.batch(operation.microBatch);
      part.load(slot, tokens, targets);
    }
    part.forward(slot, dropout);
    return { slot, inputLC };
  }

  #sendForward(operation: Operation, slot: Slot): EngineEvent | undefined {
    const { span, virtual } = this.#chunk(operation);
    if (span.head) return undefined;
    return this.#link('forward').send(slot.outputLC, (virtual + 1) % this.#schedule.stages);
  }

  #sendBackward(operation: Operation, dxLC: Tensor): EngineEvent | undefined {
    const { span, virtual } = this.#chunk(operation);
    if (span.embedding) return undefined;
    return this.#link('backward').send(dxLC, (virtual - 1) % this.#schedule.stages);
  }

  /** Posts the receive of what an operation needs from another stage, once. */
  #post(operation: Operation): void {
    const { span, virtual } = this.#chunk(operation);
    const { stages } = this.#schedule;
    const direction = operation.kind === 'forward' ? 'forward' : 'backward';
    const comes = direction === 'forward' ? !span.embedding : !span.head;
    const key = arrivalOf(direction, operation);
    if (operation.kind === 'weight-gradient' || !comes || this.#arrivals.has(key)) return;
    const from = direction === 'forward' ? (virtual - 1) % stages : (virtual + 1) % stages;
    const tensorLC = this.#streams.take();
    this.#arrivals.set(key, { tensorLC, event: this.#link(direction).receive(tensorLC, from) });
  }

  #arrived(direction: 'forward' | 'backward', operation: Operation): Tensor {
    const key = arrivalOf(direction, operation);
    const arrival = this.#arrivals.get(key);
    if (!arrival) throw new Error(`Stage ${this.#stage} has posted no receive for ${nameOf(operation)}`);
    this.#arrivals.delete(key);
    this.#engine.wait(arrival.event);
    return arrival.tensorLC;
  }

  #link(direction: 'forward' | 'backward'): Group {
    if (!this.#links) throw new Error('A pipeline of one stage sends nothing');
    return this.#links[direction];
  }

  #chunk({ chunk }: Operation): Chunk {
    const found = this.#chunks[chunk];
    if (!found) throw new RangeError(`Chunk ${chunk} of ${this.#chunks.length}`);
    return found;
  }
}

const keyOf = ({ chunk, microBatch }: Operation): string => `${chunk} ${microBatch}`;
const arrivalOf = (direction: string, operation: Operation): string => `${direction} ${keyOf(operation)}`;
const nameOf = ({ kind, microBatch, chunk }: Operation): string =>
  `${kind} of micro-batch ${microBatch} in chunk ${chunk}`;
