/** Named GPT-2 shapes, and the arithmetic of their sizes. */
import type { PresetName } from './configuration.ts';

/** A shape before the tokenizer is known; `vocabularySize` absent = the tokenizer's. */
export interface Shape {
  readonly layers: number;
  readonly width: number;
  readonly heads: number;
  readonly contextLength: number;
  readonly vocabularySize?: number;
  readonly activation: 'gelu-tanh' | 'gelu-erf';
  readonly tieHead: boolean;
}

/** OpenAI's GPT-2 (Radford et al. 2019): tanh GELU, tied head, 50257 ids, 1024 positions. */
function openai(layers: number, width: number, heads: number): Shape {
  const fixed = {
    contextLength: 1024,
    vocabularySize: 50257,
    activation: 'gelu-tanh',
    tieHead: true,
  } as const;
  return { layers, width, heads, ...fixed };
}

/** Colossal-AI's titans shapes: erf GELU, untied head, vocabulary padded to 50304. */
function titans(layers: number, width: number, heads: number): Shape {
  const fixed = {
    contextLength: 1024,
    vocabularySize: 50304,
    activation: 'gelu-erf',
    tieHead: false,
  } as const;
  return { layers, width, heads, ...fixed };
}

/** Small enough for a laptop; the vocabulary is the tokenizer's. */
function small(layers: number, width: number, heads: number): Shape {
  return { layers, width, heads, contextLength: 256, activation: 'gelu-tanh', tieHead: true };
}

/** Every preset by name. */
export const presets: Readonly<Record<PresetName, Shape>> = {
  'gpt2-nano': small(4, 256, 4),
  'gpt2-mini': small(6, 384, 6),
  'gpt2-small': openai(12, 768, 12),
  'gpt2-medium': openai(24, 1024, 16),
  'gpt2-large': openai(36, 1280, 20),
  'gpt2-xl': openai(48, 1600, 25),
  'titans-small': titans(12, 768, 12),
  'titans-medium': titans(24, 1024, 8),
  'titans-large': titans(36, 1536, 12),
  'titans-xl': titans(48, 1600, 16),
};

/** Token ids of each tokenizer; those of `bpe` and `char` depend on the text. */
export const vocabularies = { gpt2: 50257, bpe: undefined, byte: 256, char: undefined } as const;

/** Trainable parameters, tied ones counted once: 124,439,808 for `gpt2-small`. */
export function parameterCount(model: {
  layers: number;
  width: number;
  contextLength: number;
  vocabularySize: number;
  tieHead: boolean;
}): number {
  const { layers, width: C, contextLength, vocabularySize } = model;
  const embeddings = (vocabularySize + contextLength) * C;
  // Two layer norms (4C), QKV (3C²+3C), projection (C²+C), MLP up (4C²+4C) and down (4C²+C).
  const block = 12 * C * C + 13 * C;
  const head = model.tieHead ? 0 : vocabularySize * C;
  return embeddings + layers * block + 2 * C + head;
}
