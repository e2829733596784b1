/** Texts that come with GPT Lab, so that a first run needs no file of one's own. */
import { join } from 'node:path';
import { packageRoot } from '../home.ts';

/** Paths of the sample texts: `data: text(samples.mobyDick, { tokenizer: 'char' })`. */
export const samples = {
  /** Herman Melville, _Moby-Dick_ (1851), chapters 1 to 109: 1 MB of English, in the public domain. */
  mobyDick: join(packageRoot(), 'samples', 'data', 'moby-dick.txt'),
} as const;
