/** What a notebook's metadata says about its kernel. Pure: no editor in here. */

/** Name of our kernelspec, as `gpt-lab kernel install` writes it and notebooks name it. */
export const KERNEL_NAME = 'gpt-lab';

/** Metadata of a notebook of ours, as Jupyter's file format has it. */
export const NOTEBOOK_METADATA = {
  kernelspec: { name: KERNEL_NAME, display_name: 'GPT Lab (TypeScript)', language: 'typescript' },
  language_info: { name: 'typescript', file_extension: '.ts', mimetype: 'text/typescript' },
};

/** Whether cells of a notebook are meant for our kernel: it is named, or the language is TypeScript and no other is. */
export function isForUs(metadata: Record<string, unknown>): boolean {
  // Where VS Code's ipynb serializer puts the file's metadata; older versions used `custom`.
  const file = asRecord(metadata['metadata'] ?? asRecord(metadata['custom'])['metadata']);
  const spec = asRecord(file['kernelspec']);
  if (spec['name'] === KERNEL_NAME) return true;
  const language = spec['language'] ?? asRecord(file['language_info'])['name'];
  return typeof language === 'string' && language.toLowerCase() === 'typescript';
}

function asRecord(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
