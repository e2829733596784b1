/**
 * GPT-2 (Radford et al. 2019): pre-LN blocks, learned positions, explicit forward and backward per block.
 *
 * Shapes: B sequences of T tokens, N = B*T, C width, H heads, V vocabulary. Names carry them: `normNC` is [N, C]. L of the
 * tokens go through norms, dropout and residuals here: all of them, unless shares of the layers divide them.
 * There is no tape: a block's backward is called with what its forward kept, so that a model can be computed in parts
 * that lie apart, and activation checkpointing is a second forward.
 */
import type { DropoutKey, Engine, Tensor } from '../engine/engine.ts';
import type {
  BlockActivations,
  HeadActivations,
  PassOptions,
  PassSize,
  SoftmaxSums,
  Slot,
  Span,
  Workspace,
} from './activations.ts';
import {
  idsOf,
  modelUnits,
  undivided,
  type GptShape,
  type ModelUnits,
  type Share,
  type Unit,
} from './parameters.ts';

/** Dropout streams lie above those of the initial weights. */
const DROPOUT_STREAM = 1 << 24;

/** Tensors by their parameters' names. Throws when there is none. */
export interface NamedTensors {
  get(name: string): Tensor;
}

/** Where the gradients of a unit go. */
export interface UnitGradients extends NamedTensors {
  /** They begin with this micro-batch, whatever they hold; otherwise it is added. */
  readonly fresh: boolean;
}

/**
 * Who keeps the parameters that a model computes with. It may hold them all, or bring each unit's when it is needed: the
 * model says what it uses, in the order in which it queues its calls.
 */
export interface ParameterKeeper {
  /** The unit's values, which are needed by the calls queued from now to `give`. */
  take(unit: Unit): NamedTensors;
  give(unit: Unit): void;
  /** The unit will be taken soon. */
  expect(unit: Unit): void;
  /** Where the unit's gradients of a micro-batch go, from its first call on. */
  gradients(unit: Unit, microBatch: number): UnitGradients;
  /** All gradients of the unit that the micro-batch has in this model have been queued. */
  complete(unit: Unit, microBatch: number): void;
}

/** The random numbers of one micro-batch: they depend on the seed and on the sequences' global positions alone. */
export interface DropoutPosition {
  readonly seed: number;
  /** Number of the micro-batch's first sequence since the start of training. */
  readonly firstSequence: number;
}

/** A micro-batch of a step. */
export interface MicroBatch {
  /** Its number in the step. */
  readonly index: number;
  /** Gradients are those of lossScale * sum(losses). */
  readonly lossScale: number;
  readonly dropout: DropoutPosition;
}

/** The share of every layer that is computed here, and what brings all of them together. */
export interface LayerShare extends Share {
  /** The run of tokens that are here between the layers: all of them, or one of as many as there are shares. */
  readonly tokens: Share;
  /** Queues x = the sum of the x of all shares, the same for all. */
  add(x: Tensor): void;
  /** Queues x = the greatest of the x of all shares, element by element. */
  greatest(x: Tensor): void;
  /** Queues room = the rows of all tokens, of which `own` are here, and gives it; or `own`, where that is all of them. */
  gather(own: Tensor, room: Tensor): Tensor;
  /** Queues own = what the x of all shares add up to, in the rows of its tokens; x is `own` where that is all of them. */
  collect(own: Tensor, x: Tensor): void;
}

/** What a part of a model is made with. */
export interface PartSettings {
  readonly engine: Engine;
  readonly size: PassSize;
  readonly span: Span;
  readonly options: PassOptions;
  readonly workspace: Workspace;
  readonly keeper: ParameterKeeper;
  /** Default: all of every layer. */
  readonly share?: LayerShare;
}

/** One call of attention, forward or backward. */
interface AttentionCall {
  readonly attendedNC: Tensor;
  readonly logSumExpBHT: Tensor;
  readonly qkvN3C: Tensor;
  readonly dqkvN3C: Tensor | undefined;
  readonly dattendedNC: Tensor | undefined;
  readonly B: number;
  readonly key: DropoutKey | undefined;
}

const whole: LayerShare = {
  ...undivided,
  tokens: undivided,
  add: () => undefined,
  greatest: () => undefined,
  gather: (own) => own,
  collect: () => undefined,
};

/** Forward and backward of a span of the model, micro-batch by micro-batch; what is kept lies in slots. */
export class ModelPart {
  readonly units: ModelUnits;
  readonly #engine: Engine;
  readonly #shape: GptShape;
  readonly #B: number;
  readonly #T: number;
  readonly #span: Span;
  readonly #checkpointing: boolean;
  readonly #workspace: Workspace;
  readonly #keeper: ParameterKeeper;
  readonly #share: LayerShare;
  /** Heads of this share. */
  readonly #H: number;

  constructor({ engine, size, span, options, workspace, keeper, share = whole }: PartSettings) {
    this.units = modelUnits(size.shape, share);
    this.#share = share;
    this.#H = size.shape.heads / share.count;
    this.#engine = engine;
    this.#shape = size.shape;
    this.#B = size.B;
    this.#T = size.T;
    this.#span = span;
    this.#checkpointing = options.activationCheckpointing ?? false;
    this.#workspace = workspace;
    this.#keeper = keeper;
  }

  /** Queues the slot's tokens and targets [N]; a target of -1 is ignored. Ids of other shares' rows are marked as such. */
  load(slot: Slot, tokens: Int32Array, targets: Int32Array): void {
    const { first, end } = idsOf(this.#shape.vocabularySize, this.#share);
    const own = (ids: Int32Array, elsewhere: number): Int32Array =>
      ids.map((id) => (id < 0 ? id : id >= first && id < end ? id - first : elsewhere));
    const isWhole = this.#share.count === 1;
    if (this.#span.embedding) this.#engine.write(slot.tokensN, isWhole ? tokens : own(tokens, -1));
    if (this.#span.head) this.#engine.write(slot.targetsN, isWhole ? targets : own(targets, -2));
  }

  /** From the slot's tokens, or from its input stream, to its output stream, or to the final norm's output. */
  forward(slot: Slot, dropout?: DropoutPosition): void {
    const engine = this.#engine;
    const keep = this.#shape.dropout > 0 ? dropout : undefined;
    const { first, end } = this.#span;
    if (this.#span.embedding) {
      const { tokens, positions } = this.units;
      const [wteVC, wpeTC] = [this.#keeper.take(tokens), this.#keeper.take(positions)];
      this.#keeper.expect(this.#block(first));
      const xLC = slot.stream(0);
      const shareNC = this.#share.tokens.count > 1 ? this.#workspace.scratchNC : xLC;
      // Positions are added by the first share alone.
      const positionsTC = this.#share.index === 0 ? wpeTC.get('wpe.weight') : null;
      engine.embedding(shareNC, slot.tokensN, wteVC.get('wte.weight'), positionsTC, this.#T, 0);
      this.#share.collect(xLC, shareNC);
      if (keep) engine.dropout(xLC, xLC, this.#streamDropoutKey(keep, 0));
      this.#keeper.give(tokens);
      this.#keeper.give(positions);
    }
    for (let layer = first; layer < end; layer++) {
      const weights = this.#keeper.take(this.#block(layer));
      if (layer + 1 < end) this.#keeper.expect(this.#block(layer + 1));
      else if (this.#span.head) this.#keeper.expect(this.units.head);
      this.#blockForward(slot, layer, weights, keep);
      this.#keeper.give(this.#block(layer));
    }
    if (this.#span.head) {
      const { finalNorm } = this.units;
      const weights = this.#keeper.take(finalNorm);
      const { normLC, meanL, rstdL } = headOf(slot);
      const affine = [weights.get('ln_f.weight'), weights.get('ln_f.bias')] as const;
      engine.layerNorm(normLC, meanL, rstdL, slot.outputLC, ...affine);
      this.#keeper.give(finalNorm);
    }
  }

  /** Losses [N] in nats after a forward, of a span with the head; a target of -1 is ignored. */
  losses(slot: Slot, lossesN: Tensor): void {
    const head = this.#keeper.take(this.units.head);
    const input = [this.#headInput(slot), this.#headWeights(head), slot.targetsN] as const;
    if (this.#share.count > 1) this.#sharedLosses(lossesN, ...input);
    else this.#engine.crossEntropy(lossesN, ...input);
    this.#keeper.give(this.units.head);
  }

  /** The final norm's output for all tokens. */
  #headInput(slot: Slot): Tensor {
    return this.#share.gather(headOf(slot).normLC, this.#workspace.normNC);
  }

  /** Three reductions of a number a token bring together what the shares of the vocabulary have. */
  #sharedLosses(lossesN: Tensor, normNC: Tensor, wheadVC: Tensor, targetsN: Tensor): SoftmaxSums {
    const engine = this.#engine;
    const { softmax } = this.#workspace;
    if (!softmax) throw new TypeError('A workspace of one share has no room for several');
    const { ownMaximumN, maximumN, sumsN, targetLogitsN } = softmax;
    engine.vocabularyPart(ownMaximumN, sumsN, targetLogitsN, normNC, wheadVC, targetsN);
    engine.copy(maximumN, ownMaximumN);
    this.#share.greatest(maximumN);
    engine.rescaleSums(sumsN, ownMaximumN, maximumN);
    this.#share.add(sumsN);
    this.#share.add(targetLogitsN);
    engine.vocabularyLosses(lossesN, maximumN, sumsN, targetLogitsN, targetsN);
    return softmax;
  }

  /**
   * Turns dxLC from the gradient of the span's output into that of its input. With the head it starts there, whatever dxLC
   * holds, and writes losses [N]. The gradients of weights go with it; `later` leaves those of the blocks' linear layers to
   * `weightGradients`, unless activations are not kept.
   */
  backward(slot: Slot, dxLC: Tensor, micro: MicroBatch, lossesN?: Tensor, later = false): void {
    const { first, end, embedding, head } = this.#span;
    if (head) {
      if (lossesN === undefined) throw new TypeError('A span with the head writes losses');
      this.#headBackward(slot, dxLC, micro, lossesN);
    }
    const apart = later && !this.#checkpointing;
    for (let layer = end - 1; layer >= first; layer--) {
      const unit = this.#block(layer);
      const weights = this.#keeper.take(unit);
      if (layer > first) this.#keeper.expect(this.#block(layer - 1));
      const { slot: held, layer: of } = this.#workspace.holds ?? {};
      const forgotten = this.#checkpointing && !(held === slot && of === layer);
      if (forgotten) this.#blockForward(slot, layer, weights, this.#dropout(micro));
      this.#blockBackward(slot, layer, weights, dxLC, micro, apart);
      this.#keeper.give(unit);
      if (!apart) this.#keeper.complete(unit, micro.index);
    }
    if (embedding) this.#embeddingBackward(slot, dxLC, micro);
  }

  /** The gradients that `backward` left for later. */
  weightGradients(slot: Slot, micro: MicroBatch): void {
    if (this.#checkpointing) return;
    const { first, end } = this.#span;
    for (let layer = end - 1; layer >= first; layer--) {
      const unit = this.#block(layer);
      const gradients = this.#keeper.gradients(unit, micro.index);
      const inputs = slot.weightGradientInputs(layer - first);
      const kept = this.#activations(slot, layer);
      const allTokens = (normLC: Tensor): Tensor => this.#share.gather(normLC, this.#workspace.normNC);
      this.#weightGradient(gradients, layer, 'mlp.c_proj', kept.preN4C, inputs.dmlpNC);
      this.#weightGradient(gradients, layer, 'mlp.c_fc', allTokens(inputs.norm2LC), inputs.dpreN4C);
      this.#weightGradient(gradients, layer, 'attn.c_proj', kept.attendedNC, inputs.dprojectedNC);
      this.#weightGradient(gradients, layer, 'attn.c_attn', allTokens(inputs.norm1LC), inputs.dqkvN3C);
      this.#keeper.complete(unit, micro.index);
    }
  }

  #headBackward(slot: Slot, dxLC: Tensor, micro: MicroBatch, lossesN: Tensor): void {
    const engine = this.#engine;
    const { head, finalNorm } = this.units;
    const { meanL, rstdL } = headOf(slot);
    const dnormNC = this.#workspace.scratchNC;
    const dnormLC = this.#own(dnormNC);
    const weights = this.#keeper.take(head);
    this.#keeper.expect(this.#block(this.#span.end - 1));
    const gradients = this.#keeper.gradients(head, micro.index);
    const dwhead = this.#headWeights(gradients);
    const input = [this.#headInput(slot), this.#headWeights(weights), slot.targetsN] as const;
    const { lossScale } = micro;
    if (this.#share.count > 1) {
      const { maximumN, sumsN } = this.#sharedLosses(lossesN, ...input);
      const sums = [lossesN, maximumN, sumsN] as const;
      engine.vocabularyPartBackward(dnormNC, dwhead, ...input, ...sums, lossScale, gradients.fresh);
      this.#share.collect(dnormLC, dnormNC);
    } else {
      engine.crossEntropyBackward(lossesN, dnormNC, dwhead, ...input, lossScale, gradients.fresh);
    }
    this.#keeper.give(head);
    // Tied weights get the embedding's gradients too, where it is in this part.
    const more = this.#shape.tieHead && this.#span.embedding;
    if (!more) this.#keeper.complete(head, micro.index);
    const norm = this.#keeper.gradients(finalNorm, micro.index);
    const [dgamma, dbeta] = [norm.get('ln_f.weight'), norm.get('ln_f.bias')];
    this.#clear(norm, dgamma, dbeta);
    engine.fill(dxLC, 0);
    const gamma = this.#keeper.take(finalNorm).get('ln_f.weight');
    engine.layerNormBackward(dxLC, dgamma, dbeta, dnormLC, slot.outputLC, meanL, rstdL, gamma);
    this.#keeper.give(finalNorm);
    this.#keeper.complete(finalNorm, micro.index);
  }

  #embeddingBackward(slot: Slot, dxLC: Tensor, micro: MicroBatch): void {
    const engine = this.#engine;
    const { tokens, positions } = this.units;
    const dropout = this.#dropout(micro);
    if (dropout) engine.dropout(dxLC, dxLC, this.#streamDropoutKey(dropout, 0));
    const dxNC = this.#share.gather(dxLC, this.#workspace.scratchNC);
    const ofTokens = this.#keeper.gradients(tokens, micro.index);
    const ofPositions = this.#keeper.gradients(positions, micro.index);
    const [dwteVC, dwpeTC] = [ofTokens.get('wte.weight'), ofPositions.get('wpe.weight')];
    // A head that is tied to it in this part has begun it.
    if (!(this.#shape.tieHead && this.#span.head)) this.#clear(ofTokens, dwteVC);
    this.#clear(ofPositions, dwpeTC);
    engine.embeddingBackward(dwteVC, dwpeTC, dxNC, slot.tokensN, this.#T);
    this.#keeper.complete(positions, micro.index);
    this.#keeper.complete(tokens, micro.index);
  }

  #blockForward(slot: Slot, layer: number, weights: NamedTensors, dropout?: DropoutPosition): void {
    const engine = this.#engine;
    const { activation } = this.#shape;
    const place = layer - this.#span.first;
    const kept = this.#activations(slot, layer);
    // What all shares add to is added once.
    const bias = (name: string): Tensor | null => (this.#share.index === 0 ? weight(name) : null);
    if (this.#checkpointing) this.#workspace.holds = { slot, layer };
    const [xLC, outLC] = [slot.stream(place), slot.stream(place + 1)];
    const weight = (name: string): Tensor => weights.get(`h.${layer}.${name}`);
    const { scratchNC: branchNC, normNC, hiddenN4C } = this.#workspace;
    const [branchLC, normLC] = [this.#own(branchNC), this.#own(normNC)];

    engine.layerNorm(normLC, kept.mean1L, kept.rstd1L, xLC, weight('ln_1.weight'), weight('ln_1.bias'));
    this.#share.gather(normLC, normNC);
    engine.linear(kept.qkvN3C, normNC, weight('attn.c_attn.weight'), weight('attn.c_attn.bias'));
    for (const { attendedNC, logSumExpBHT, qkvN3C, B, key } of this.#attentions(layer, kept, dropout))
      engine.attention(attendedNC, logSumExpBHT, qkvN3C, B, this.#T, this.#H, key);
    engine.linear(branchNC, kept.attendedNC, weight('attn.c_proj.weight'), bias('attn.c_proj.bias'));
    this.#share.collect(branchLC, branchNC);
    if (dropout) engine.dropout(branchLC, branchLC, this.#streamDropoutKey(dropout, 2 + 3 * layer));
    engine.addLayerNorm(
      kept.middleLC,
      normLC,
      kept.mean2L,
      kept.rstd2L,
      xLC,
      branchLC,
      weight('ln_2.weight'),
      weight('ln_2.bias'),
    );
    this.#share.gather(normLC, normNC);
    engine.linearActivation(
      hiddenN4C,
      kept.preN4C,
      normNC,
      weight('mlp.c_fc.weight'),
      weight('mlp.c_fc.bias'),
      activation,
    );
    engine.linear(branchNC, hiddenN4C, weight('mlp.c_proj.weight'), bias('mlp.c_proj.bias'));
    this.#share.collect(branchLC, branchNC);
    if (dropout) engine.dropout(branchLC, branchLC, this.#streamDropoutKey(dropout, 3 + 3 * layer));
    engine.add(outLC, kept.middleLC, branchLC);
  }

  /** Turns dxLC from the gradient of the block's output into that of its input; `apart` keeps what weight gradients need. */
  #blockBackward(
    slot: Slot,
    layer: number,
    weights: NamedTensors,
    dxLC: Tensor,
    micro: MicroBatch,
    apart: boolean,
  ): void {
    const engine = this.#engine;
    const { activation } = this.#shape;
    const workspace = this.#workspace;
    const { scratchNC, scratch2LC, dbranchNC } = workspace;
    const place = layer - this.#span.first;
    const kept = this.#activations(slot, layer);
    const dropout = this.#dropout(micro);
    const gradients = this.#keeper.gradients(this.#block(layer), micro.index);
    const weight = (name: string): Tensor => weights.get(`h.${layer}.${name}`);
    const gradient = (name: string): Tensor => gradients.get(`h.${layer}.${name}`);
    const later = apart ? slot.weightGradientInputs(place) : undefined;
    const { dpreN4C, dqkvN3C } = later ?? workspace;
    const dnormNC = scratchNC;
    const dnormLC = this.#own(dnormNC);
    const dattendedNC = this.#share.count > 1 ? scratchNC.view(0, kept.attendedNC.shape) : scratchNC;
    /** The gradient entering a residual branch: through its dropout, where there is one; in the activations' type, of all tokens. */
    const intoBranch = (site: number, keptNC?: Tensor): Tensor => {
      if (dropout) engine.dropout(scratch2LC, dxLC, this.#streamDropoutKey(dropout, site));
      const gradientLC = dropout ? scratch2LC : dxLC;
      const targetNC = keptNC ?? dbranchNC;
      if (!keptNC && targetNC.type === 'f32') return this.#share.gather(gradientLC, targetNC);
      const targetLC = this.#own(targetNC);
      engine.copy(targetLC, gradientLC);
      return this.#share.gather(targetLC, targetNC);
    };
    /** What a norm gave in the forward, for the weight gradient of the layer behind it. */
    const normAgain = (norm: 'ln_1' | 'ln_2', xLC: Tensor, meanL: Tensor, rstdL: Tensor): Tensor => {
      const outLC = later?.[norm === 'ln_1' ? 'norm1LC' : 'norm2LC'] ?? this.#own(workspace.normNC);
      engine.layerNorm(outLC, meanL, rstdL, xLC, weight(`${norm}.weight`), weight(`${norm}.bias`));
      return later ? outLC : this.#share.gather(outLC, workspace.normNC);
    };
    const norms = ['ln_1', 'ln_2'].flatMap((norm) => [gradient(`${norm}.weight`), gradient(`${norm}.bias`)]);
    this.#clear(gradients, ...norms);

    const dmlpNC = intoBranch(3 + 3 * layer, later?.dmlpNC);
    const down = weight('mlp.c_proj.weight');
    engine.linearActivationInputGradient(dpreN4C, dmlpNC, down, kept.preN4C, activation);
    const norm2 = normAgain('ln_2', kept.middleLC, kept.mean2L, kept.rstd2L);
    if (!apart) {
      this.#weightGradient(gradients, layer, 'mlp.c_proj', kept.preN4C, dmlpNC);
      this.#weightGradient(gradients, layer, 'mlp.c_fc', norm2, dpreN4C);
    }
    engine.linearInputGradient(dnormNC, dpreN4C, weight('mlp.c_fc.weight'));
    this.#share.collect(dnormLC, dnormNC);
    engine.layerNormBackward(
      dxLC,
      gradient('ln_2.weight'),
      gradient('ln_2.bias'),
      dnormLC,
      kept.middleLC,
      kept.mean2L,
      kept.rstd2L,
      weight('ln_2.weight'),
    );

    const dprojectedNC = intoBranch(2 + 3 * layer, later?.dprojectedNC);
    if (!apart) this.#weightGradient(gradients, layer, 'attn.c_proj', kept.attendedNC, dprojectedNC);
    engine.linearInputGradient(dattendedNC, dprojectedNC, weight('attn.c_proj.weight'));
    for (const each of this.#attentions(layer, kept, dropout, dqkvN3C, dattendedNC)) {
      const { attendedNC, logSumExpBHT, qkvN3C, B, key } = each;
      const [dqkv, dattended] = [each.dqkvN3C, each.dattendedNC] as const;
      if (!dqkv || !dattended) throw new TypeError('A backward pass has gradients');
      engine.attentionBackward(dqkv, dattended, attendedNC, logSumExpBHT, qkvN3C, B, this.#T, this.#H, key);
    }
    const norm1 = normAgain('ln_1', slot.stream(place), kept.mean1L, kept.rstd1L);
    if (!apart) this.#weightGradient(gradients, layer, 'attn.c_attn', norm1, dqkvN3C);
    engine.linearInputGradient(dnormNC, dqkvN3C, weight('attn.c_attn.weight'));
    this.#share.collect(dnormLC, dnormNC);
    engine.layerNormBackward(
      dxLC,
      gradient('ln_1.weight'),
      gradient('ln_1.bias'),
      dnormLC,
      slot.stream(place),
      kept.mean1L,
      kept.rstd1L,
      weight('ln_1.weight'),
    );
  }

  /**
   * The attention calls of a block: one for all sequences, unless a share of the heads drops what it would drop among all
   * heads; then each sequence has a place of its own in the random numbers.
   */
  #attentions(
    layer: number,
    { attendedNC, logSumExpBHT, qkvN3C }: BlockActivations,
    dropout?: DropoutPosition,
    dqkvN3C?: Tensor,
    dattendedNC?: Tensor,
  ): AttentionCall[] {
    const { heads } = this.#shape;
    const all = { attendedNC, logSumExpBHT, qkvN3C, dqkvN3C, dattendedNC };
    if (!dropout) return [{ ...all, B: this.#B, key: undefined }];
    const key = this.#dropoutKey(dropout, 1 + 3 * layer, heads * this.#T);
    if (this.#share.count === 1) return [{ ...all, B: this.#B, key }];
    const [T, S] = [this.#T, qkvN3C.length / (3 * this.#B * this.#T)];
    return Array.from({ length: this.#B }, (_, b) => ({
      attendedNC: attendedNC.view(b * T * S, [T, S]),
      logSumExpBHT: logSumExpBHT.view(b * this.#H * T, [1, this.#H, T]),
      qkvN3C: qkvN3C.view(b * T * 3 * S, [T, 3 * S]),
      dqkvN3C: dqkvN3C?.view(b * T * 3 * S, [T, 3 * S]),
      dattendedNC: dattendedNC?.view(b * T * S, [T, S]),
      B: 1,
      key: { ...key, offset: key.offset + (b * heads + this.#share.index * this.#H) * T * T },
    }));
  }

  #weightGradient(gradients: UnitGradients, layer: number, linear: string, x: Tensor, dout: Tensor): void {
    const [dw, dbias] = [`h.${layer}.${linear}.weight`, `h.${layer}.${linear}.bias`];
    this.#engine.linearWeightGradient(gradients.get(dw), gradients.get(dbias), x, dout, gradients.fresh);
  }

  /** Zeroes gradients that operations only add to, where they begin. */
  #clear({ fresh }: UnitGradients, ...tensors: readonly Tensor[]): void {
    if (fresh) for (const tensor of tensors) this.#engine.fill(tensor, 0);
  }

  #dropout({ dropout }: MicroBatch): DropoutPosition | undefined {
    return this.#shape.dropout > 0 ? dropout : undefined;
  }

  /** Site 0 is the embedding; 1 + 3l, 2 + 3l, 3 + 3l are attention, projection and MLP of block l. */
  #dropoutKey(position: DropoutPosition, site: number, elementsPerToken: number): DropoutKey {
    return {
      probability: this.#shape.dropout,
      seed: position.seed,
      stream: DROPOUT_STREAM + site,
      offset: position.firstSequence * this.#T * elementsPerToken,
    };
  }

  /** The same for the tokens between the layers, by their place among all. */
  #streamDropoutKey(position: DropoutPosition, site: number): DropoutKey {
    const { width: C } = this.#shape;
    const { index, count } = this.#share.tokens;
    const key = this.#dropoutKey(position, site, C);
    return { ...key, offset: key.offset + ((this.#B * this.#T) / count) * index * C };
  }

  /** The rows of the tokens that are here between the layers. */
  #own(xNC: Tensor): Tensor {
    const { index, count } = this.#share.tokens;
    if (count === 1) return xNC;
    const [N = 0, C = 0] = xNC.shape;
    return xNC.view((N / count) * index * C, [N / count, C]);
  }

  #activations(slot: Slot, layer: number): BlockActivations {
    const block = this.#workspace.block ?? slot.blocks[layer - this.#span.first];
    if (block === undefined) throw new RangeError(`Block ${layer} is not in this part of the model`);
    return block;
  }

  #block(layer: number): Unit {
    const unit = this.units.blocks[layer];
    if (unit === undefined) throw new RangeError(`Block ${layer} of ${this.units.blocks.length}`);
    return unit;
  }

  #headWeights(tensors: NamedTensors): Tensor {
    return head(tensors, this.#shape);
  }
}

function headOf(slot: Slot): HeadActivations {
  if (slot.head === undefined) throw new TypeError('This part of the model has no head');
  return slot.head;
}

/** The head's weights [V, C]: the token embedding where they are tied. */
export function head(parameters: NamedTensors, shape: GptShape): Tensor {
  return parameters.get(shape.tieHead ? 'wte.weight' : 'lm_head.weight');
}
