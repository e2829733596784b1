/** Text from a checkpoint: sampling and evaluation. */
import type { Engine } from '../engine/engine.ts';
import { loadWeights, readManifest, type Manifest } from './checkpoint.ts';
import { evaluationBatches } from './data/batches.ts';
import { tokenise, type CorpusReporter } from './data/corpus.ts';
import { openTokenizer, type Tokenizer } from './data/tokenizer.ts';
import { Decoder } from './decoder.ts';
import { TrainingPass } from './training-pass.ts';
import { ParameterSet, parameterSpecifications } from './parameters.ts';
import { sampleToken, type Sampling } from './sampling.ts';

/** A checkpoint's model on the device. */
interface LoadedModel {
  readonly manifest: Manifest;
  readonly parameters: ParameterSet;
  readonly tokenizer: Tokenizer;
}

async function loadModel(engine: Engine, checkpoint: string): Promise<LoadedModel> {
  const manifest = await readManifest(checkpoint);
  const parameters = new ParameterSet(engine, parameterSpecifications(manifest.shape));
  await loadWeights(engine, checkpoint, manifest, parameters);
  return { manifest, parameters, tokenizer: await openTokenizer(manifest.tokenizer) };
}

/**
 * Continues a prompt by `tokens` tokens; `onText` gets the new text piece by piece, never a part of a character.
 * The context is as long as the sequences of the
 * training and slides: when it is full, its newer half is kept. Returns the whole new text.
 */
export async function generate(
  engine: Engine,
  request: Sampling & { checkpoint: string; prompt: string; tokens: number },
  onText: (text: string) => void,
): Promise<{ text: string; tokens: number; seconds: number }> {
  const { manifest, parameters, tokenizer } = await loadModel(engine, request.checkpoint);
  const { vocabularySize } = manifest.shape;
  // Positions past the trained length have weights that no step ever touched.
  const contextLength = manifest.config.training.sequenceLength;
  const decoder = new Decoder(engine, manifest.shape, parameters);
  // Without a prompt the text starts after a line break, or after whatever the vocabulary begins with.
  const prompt = request.prompt === '' ? startOf(tokenizer) : tokenizer.encode(request.prompt);
  const ids = [...prompt];
  const utf8 = new TextDecoder();
  let text = '';
  const start = performance.now();
  let logits = await decoder.append(ids.slice(-contextLength));
  for (let made = 0; made < request.tokens; made++) {
    // Ids above the tokenizer's (a padded vocabulary) have no text.
    const usable = logits.subarray(0, Math.min(vocabularySize, tokenizer.vocabularySize));
    const id = sampleToken(usable, request, made);
    ids.push(id);
    const piece = utf8.decode(tokenizer.decode([id]), { stream: true });
    text += piece;
    if (piece !== '') onText(piece);
    if (made + 1 === request.tokens) break;
    if (decoder.position === contextLength) {
      decoder.reset();
      logits = await decoder.append(ids.slice(-Math.ceil(contextLength / 2)));
    } else {
      logits = await decoder.append([id]);
    }
  }
  const rest = utf8.decode();
  if (rest !== '') onText(rest);
  decoder.release();
  parameters.release(engine);
  return { text: text + rest, tokens: request.tokens, seconds: (performance.now() - start) / 1000 };
}

function startOf(tokenizer: Tokenizer): number[] {
  try {
    return tokenizer.encode('\n');
  } catch {
    // A character vocabulary without line breaks.
    return [0];
  }
}

/** Mean cross-entropy in nats per token, and perplexity, of a whole text file in windows of the trained length. */
export async function evaluateText(
  engine: Engine,
  request: { checkpoint: string; text: string; cacheDirectory: string },
  report: CorpusReporter,
): Promise<{ loss: number; perplexity: number; tokens: number }> {
  const { manifest, parameters, tokenizer } = await loadModel(engine, request.checkpoint);
  const { tokens } = await tokenise(request.text, tokenizer, request.cacheDirectory, report);
  if (tokens.length < 2)
    throw new Error(`${request.text} has ${tokens.length} token: an evaluation needs at least 2`);
  const T = Math.min(manifest.config.training.sequenceLength, tokens.length - 1);
  const sequences = Math.max(1, Math.min(8, Math.floor((tokens.length - 1) / T)));
  const pass = new TrainingPass(engine, manifest.shape, sequences, T);
  let total = 0;
  let count = 0;
  for (const batch of evaluationBatches(tokens, T, sequences, Number.MAX_SAFE_INTEGER)) {
    pass.load(batch.tokens, batch.targets);
    pass.evaluate(parameters);
    for (const loss of await engine.read(pass.lossesN)) total += loss;
    for (const target of batch.targets) if (target >= 0) count++;
  }
  pass.release();
  parameters.release(engine);
  const loss = total / count;
  return { loss, perplexity: Math.exp(loss), tokens: count };
}
