/** Helpers that write sections of a run's configuration; each returns a plain object that can be written by hand. */
import type { DataConfiguration, ModelConfiguration } from '../protocol/configuration.ts';

/** GPT-2 shapes by size: nano (4 layers, width 256, 4 heads), mini (6, 384, 6) and OpenAI's four. */
export type Gpt2Size = 'nano' | 'mini' | 'small' | 'medium' | 'large' | 'xl';

/**
 * A GPT-2 model: `gpt2('nano')`, or with single values changed: `gpt2('nano', { contextLength: 128, dropout: 0.1 })`.
 *
 * | size     | layers | width | heads |
 * | -------- | -----: | ----: | ----: |
 * | `nano`   |      4 |   256 |     4 |
 * | `mini`   |      6 |   384 |     6 |
 * | `small`  |     12 |   768 |    12 |
 * | `medium` |     24 |  1024 |    16 |
 * | `large`  |     36 |  1280 |    20 |
 * | `xl`     |     48 |  1600 |    25 |
 */
export function gpt2(
  size: Gpt2Size = 'nano',
  changes: Omit<ModelConfiguration, 'preset'> = {},
): ModelConfiguration {
  return { preset: `gpt2-${size}`, ...changes };
}

/**
 * Text files to learn from (UTF-8), relative to the notebook: `text('data/moby-dick.txt')`. The end of each file is
 * held out for evaluation.
 *
 * @param options `tokenizer`: `'gpt2'` (50257 tokens, the default), `'bpe'` (pieces of words learned from the text, as
 * many as `vocabularySize`, default 2048), `'byte'` (256) or `'char'` (the text's own characters); `validation`: the
 * share held out, default 0.05.
 */
export function text(
  files: string | string[],
  options: Pick<DataConfiguration, 'tokenizer' | 'vocabularySize' | 'validation'> = {},
): DataConfiguration {
  return { text: typeof files === 'string' ? [files] : files, ...options };
}

/** Random tokens instead of text: to measure speed, not to learn. */
export function dummyData(options: Pick<DataConfiguration, 'tokenizer'> = {}): DataConfiguration {
  return { dummy: true, ...options };
}
