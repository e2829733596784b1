/** A rank among all ranks of a run: its place in the mesh, the groups it works in, and what all of them agree on. */
import type { Engine, Tensor } from '../engine/engine.ts';
import type { Collective, Group } from './collective/collective.ts';
import { Mesh, type PerAxis } from './mesh.ts';
import type { Peers } from './peers.ts';
import type { PipelineLinks } from './pipeline/stage-execution.ts';

/** See above. */
export class World implements Peers {
  readonly mesh: Mesh;
  readonly rank: number;
  readonly place: PerAxis;
  /** All ranks; undefined where there is one. */
  readonly everyone: Group | undefined;
  /** Ranks that hold the same parameters and work on different sequences; undefined where there is one. */
  readonly replicas: Group | undefined;
  /** Ranks that compute shares of the same layers; undefined where there is one. */
  readonly sharers: Group | undefined;
  /** Undefined with one stage. */
  readonly links: PipelineLinks | undefined;
  /** First and last stage, on ranks of either; undefined elsewhere and with one stage. */
  readonly ends: Group | undefined;
  readonly #engine: Engine;
  readonly #collective: Collective | undefined;
  readonly #tensors = new Map<number, Tensor>();

  /** `collective` has as many ranks as the mesh; none is needed for one. */
  constructor(engine: Engine, mesh: Mesh, collective?: Collective) {
    const ranks = collective?.size ?? 1;
    if (ranks !== mesh.size) throw new RangeError(`A mesh of ${mesh.size} ranks on a collective of ${ranks}`);
    this.#engine = engine;
    this.#collective = collective;
    this.mesh = mesh;
    this.rank = collective?.rank ?? 0;
    this.place = mesh.place(this.rank);
    const group = (members: readonly number[]): Group | undefined =>
      members.length > 1 ? collective?.group(members) : undefined;
    this.everyone = collective && collective.size > 1 ? collective.world : undefined;
    this.replicas = group(mesh.group(this.rank, 'data'));
    this.sharers = group(mesh.group(this.rank, 'tensor'));
    const stages = mesh.group(this.rank, 'pipeline');
    const [forward, backward] = [group(stages), group(stages)];
    this.links = forward && backward ? { forward, backward } : undefined;
    const [first, last] = [stages[0] ?? 0, stages.at(-1) ?? 0];
    const isEnd = this.rank === first || this.rank === last;
    // Two stages are a group of their own kind already, but its queue is busy with gradients when the ends add theirs.
    this.ends = isEnd && first !== last ? group([first, last]) : undefined;
  }

  get size(): number {
    return this.mesh.size;
  }

  async any(...answers: boolean[]): Promise<boolean[]> {
    if (!this.everyone) return answers;
    const tensor = this.#integers(answers.length);
    this.#engine.write(tensor, Int32Array.from(answers, Number));
    this.#engine.wait(this.everyone.allReduce(tensor, { reduction: 'max' }));
    return Array.from(await this.#engine.read(tensor), (answer) => answer !== 0);
  }

  async gather(numbers: Int32Array): Promise<Int32Array> {
    if (!this.everyone) return numbers;
    const all = this.#integers(numbers.length * this.size);
    const own = all.view(this.rank * numbers.length, [numbers.length]);
    this.#engine.write(own, numbers);
    this.#engine.wait(this.everyone.allGather(all, own));
    return (await this.#engine.read(all)) as Int32Array;
  }

  /** What moves data or waits for other ranks now, in words. */
  currentCalls(): string[] {
    return this.#collective?.current().map(({ call }) => call) ?? [];
  }

  /**
   * What collectives have taken: time, waits for other ranks included, where those of several groups may run at once; and
   * bytes from other ranks.
   */
  communication(): { readonly seconds: number; readonly receivedBytes: number } {
    const all = Object.values(this.#collective?.statistics() ?? {});
    return {
      seconds: all.reduce((sum, { seconds }) => sum + seconds, 0),
      receivedBytes: all.reduce((sum, { bytesReceived }) => sum + bytesReceived, 0),
    };
  }

  /** Leaves when all ranks have come so far: none takes another's leaving for a failure. */
  async leave(): Promise<void> {
    if (this.everyone) this.#engine.wait(this.everyone.barrier());
    await this.#engine.finish();
    await this.#collective?.finish();
    await this.#collective?.close();
  }

  /** A tensor of that many integers, kept for the next time. */
  #integers(length: number): Tensor {
    const known = this.#tensors.get(length);
    if (known) return known;
    const made = this.#engine.allocate('i32', [length]);
    this.#tensors.set(length, made);
    return made;
  }
}
