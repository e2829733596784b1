/**
 * Where imports of cells lead: the lab module, packages and files beside the notebook, TypeScript included. Node's own
 * resolution does the work; it only has to believe that the import stands in a file of the notebook's folder.
 */
import { readFileSync } from 'node:fs';
import { createRequire, registerHooks, type LoadHookContext } from 'node:module';
import { extname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { distFile } from '../../home.ts';
import { compileModule } from './compile-module.ts';
import { LocalModules } from './local-modules.ts';
import { rememberSource } from './sources.ts';

/** Marks a specifier as one that a cell imports. */
const FROM_CELL = 'gpt-lab-cell:';
const TYPESCRIPT = new Set(['.ts', '.mts', '.cts']);

const notebookUrl = pathToFileURL(join(process.cwd(), 'notebook.ts')).href;
const labUrl = pathToFileURL(distFile('kernel', 'lab.js')).href;
const ownFolder = pathToFileURL(distFile()).href;
const local = new LocalModules();

/** `import()` in a cell. Attributes are not needed: what a file is, its name says. */
export function importFromCell(specifier: unknown): Promise<unknown> {
  return import(`${FROM_CELL}${String(specifier)}`);
}

/** `require` in a cell. */
export const requireFromCell = createRequire(notebookUrl);

/** `import.meta` in a cell. */
export const importMeta = {
  url: notebookUrl,
  filename: fileURLToPath(notebookUrl),
  dirname: process.cwd(),
  resolve: (specifier: string) => pathToFileURL(requireFromCell.resolve(specifier)).href,
};

/** Makes imports work as said above, in cells and in the modules that they import. */
export function installModuleHooks(): void {
  registerHooks({
    resolve(specifier, context, next) {
      const fromCell = specifier.startsWith(FROM_CELL);
      const parent = fromCell ? notebookUrl : context.parentURL;
      if (!fromCell && parent?.startsWith(ownFolder)) return next(specifier, context);
      const name = fromCell ? specifier.slice(FROM_CELL.length) : specifier;
      if (name === 'gpt-lab') return { url: labUrl, format: 'module', shortCircuit: true };
      const url = local.resolve(name, parent);
      // Node itself may refuse TypeScript, or take only what it can erase.
      if (url && TYPESCRIPT.has(extname(new URL(url).pathname)))
        return { url, format: formatOf(url), shortCircuit: true };
      // `require` knows paths alone.
      const found = url && context.conditions.includes('require') ? fileURLToPath(url) : url;
      return next(found ?? name, { ...context, parentURL: parent });
    },
    load(url, context, next) {
      if (url.startsWith('file:')) {
        const extension = extname(new URL(url).pathname);
        if (TYPESCRIPT.has(extension))
          return { format: formatOf(url), source: compile(url), shortCircuit: true };
        if (extension === '.json' && isPlainImport(context))
          return { format: 'module', source: jsonModule(url), shortCircuit: true };
      }
      return next(url, context);
    },
  });
}

function formatOf(url: string): 'module' | 'commonjs' {
  return new URL(url).pathname.endsWith('.cts') ? 'commonjs' : 'module';
}

function compile(url: string): string {
  const path = fileURLToPath(url);
  const text = readFileSync(path, 'utf8');
  const { code, map } = compileModule(path, text, formatOf(url));
  rememberSource(url, { where: `File ${path}`, text, map });
  return code;
}

/** `import` without `with { type: 'json' }`, which bundlers allow and Node alone does not. */
function isPlainImport({ conditions, importAttributes }: LoadHookContext): boolean {
  return conditions.includes('import') && importAttributes['type'] !== 'json';
}

function jsonModule(url: string): string {
  const text = readFileSync(new URL(url), 'utf8');
  const value = JSON.parse(text) as unknown;
  const keys = typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.keys(value) : [];
  const named = keys
    .filter((key) => key !== 'default')
    .map((key, index) => {
      const name = JSON.stringify(key);
      return `const _${index} = json[${name}]; export { _${index} as ${name} };`;
    });
  return [`const json = ${text};`, 'export default json;', ...named].join('\n');
}
