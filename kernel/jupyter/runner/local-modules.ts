/** Files beside the notebook: found as TypeScript finds them, and loaded anew when they have changed. */
import { statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { isAbsolute } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

/** What may be left out at the end of a specifier. */
const ENDINGS = ['', '.ts', '.mts', '.cts', '.js', '.mjs', '.cjs', '.json', '/index.ts', '/index.js'];

interface LocalModule {
  /** Time of the change that was loaded, ms. */
  readonly changed: number;
  /** Files that it imports. */
  readonly imports: Set<string>;
}

const require = createRequire(import.meta.url);

/** The local files that were imported so far. */
export class LocalModules {
  readonly #loaded = new Map<string, LocalModule>();
  /** How often a file was loaded anew: part of its URL, by which Node keeps modules. */
  readonly #reloads = new Map<string, number>();

  /** URL of a file that `parent` (a URL) imports; undefined for packages and for files that do not exist. */
  resolve(specifier: string, parent: string | undefined): string | undefined {
    const path = parent === undefined ? undefined : findFile(specifier, parent);
    if (parent === undefined || path === undefined) return undefined;
    this.#refresh(path, new Set());
    if (!this.#loaded.has(path)) this.#loaded.set(path, { changed: changedAt(path), imports: new Set() });
    this.#loaded.get(fileURLToPath(withoutQuery(parent)))?.imports.add(path);
    const reloads = this.#reloads.get(path);
    return pathToFileURL(path).href + (reloads === undefined ? '' : `?reload=${reloads}`);
  }

  /** Forgets a file that has changed, or that imports one that has; true when it did. */
  #refresh(path: string, seen: Set<string>): boolean {
    const known = this.#loaded.get(path);
    if (!known || seen.has(path)) return false;
    seen.add(path);
    let stale = known.changed !== changedAt(path);
    for (const imported of known.imports) stale = this.#refresh(imported, seen) || stale;
    if (!stale) return false;
    this.#loaded.delete(path);
    this.#reloads.set(path, (this.#reloads.get(path) ?? 0) + 1);
    // CommonJS modules are kept by their path alone.
    Reflect.deleteProperty(require.cache, path);
    return true;
  }
}

/** ms since the epoch; 0 when the file is gone. */
function changedAt(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

function findFile(specifier: string, parent: string): string | undefined {
  if (!/^(\.{1,2}\/|file:)/.test(specifier) && !isAbsolute(specifier)) return undefined;
  const base = isAbsolute(specifier) ? pathToFileURL(specifier) : new URL(specifier, parent);
  if (base.protocol !== 'file:') return undefined;
  const path = fileURLToPath(withoutQuery(base.href));
  // `./a.js` may be what `./a.ts` will become.
  const source = path.replace(/\.([mc]?)js$/, '.$1ts');
  return [...ENDINGS.map((ending) => path + ending), source].find((candidate) => isFile(candidate));
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}

function withoutQuery(url: string): string {
  return url.replace(/[?#].*$/, '');
}
