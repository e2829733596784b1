/** The program that TypeScript's language service looks at: cells in memory, everything else on disk. */
import { join } from 'node:path';
import ts from 'typescript';
import { distFile, packageRoot } from '../../home.ts';
import { CELL_GLOBALS } from './cell-globals.ts';

/** Name of the file that declares the globals. */
const GLOBALS = '__gpt_lab_globals.d.ts';

/** As cells run: ES modules with Node's resolution, strict, but without forcing types on every parameter. */
function compilerOptions(folder: string): ts.CompilerOptions {
  const own = join(packageRoot(), 'node_modules', '@types');
  return {
    target: ts.ScriptTarget.ESNext,
    lib: ['lib.esnext.d.ts'],
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    moduleDetection: ts.ModuleDetectionKind.Force,
    customConditions: ['node'],
    allowImportingTsExtensions: true,
    resolveJsonModule: true,
    allowJs: true,
    noEmit: true,
    skipLibCheck: true,
    strict: true,
    noImplicitAny: false,
    useUnknownInCatchVariables: false,
    // Node's types of the notebook's own project, where it has them.
    types: ['node'],
    typeRoots: [join(folder, 'node_modules', '@types'), own],
    paths: { 'gpt-lab': [distFile('types', 'kernel', 'lab', 'gpt-lab.d.ts')] },
  };
}

/** One language service for one folder. */
export class Project {
  readonly #service: ts.LanguageService;
  /** With slashes, as TypeScript writes paths everywhere. */
  readonly #folder: string;
  readonly #cells = new Map<string, { text: string; version: number }>();
  #roots: readonly string[] = [];
  /** Counts changes of what is asked about. */
  #version = 0;

  constructor(folder: string) {
    this.#folder = folder.replaceAll('\\', '/').replace(/\/$/, '');
    const options = compilerOptions(folder);
    const globals = `${this.#folder}/${GLOBALS}`;
    this.#cells.set(globals, { text: CELL_GLOBALS, version: 0 });
    const host: ts.LanguageServiceHost = {
      getCompilationSettings: () => options,
      getCurrentDirectory: () => folder,
      getDefaultLibFileName: (settings) => ts.getDefaultLibFilePath(settings),
      getScriptFileNames: () => [globals, ...this.#roots],
      getProjectVersion: () => String(this.#version),
      getScriptVersion: (file) => this.#fileVersion(file),
      getScriptSnapshot: (file) => {
        const text = this.#read(file);
        return text === undefined ? undefined : ts.ScriptSnapshot.fromString(text);
      },
      fileExists: (file) => this.#cells.has(file) || ts.sys.fileExists(file),
      readFile: (file) => this.#read(file),
      directoryExists: (path) => ts.sys.directoryExists(path),
      getDirectories: (path) => ts.sys.getDirectories(path),
      readDirectory: (path, ...rest) => ts.sys.readDirectory(path, ...rest),
      realpath: (path) => ts.sys.realpath?.(path) ?? path,
      useCaseSensitiveFileNames: () => ts.sys.useCaseSensitiveFileNames,
    };
    this.#service = ts.createLanguageService(host, ts.createDocumentRegistry());
  }

  /** The path of a cell's module without an ending; imports of the notebook's folder start from it. */
  path(name: string): string {
    return `${this.#folder}/__gpt_lab_${name}`;
  }

  /** Writes a cell's module; gives its file name. */
  write(path: string, text: string): string {
    const file = `${path}.ts`;
    const known = this.#cells.get(file);
    if (known?.text !== text) {
      this.#cells.set(file, { text, version: (known?.version ?? 0) + 1 });
      this.#version++;
    }
    return file;
  }

  /** The service, ready for questions about `files`; what they import comes along. */
  lookAt(files: readonly string[]): ts.LanguageService {
    if (this.#roots.join('\n') !== files.join('\n')) {
      this.#roots = files;
      this.#version++;
    }
    return this.#service;
  }

  /** Cells have run, and may have written files or installed packages: what cells import is looked up anew. */
  diskMayHaveChanged(): void {
    for (const cell of this.#cells.values()) cell.version++;
    this.#version++;
  }

  #read(file: string): string | undefined {
    return this.#cells.get(file)?.text ?? ts.sys.readFile(file);
  }

  #fileVersion(file: string): string {
    const cell = this.#cells.get(file);
    if (cell) return String(cell.version);
    // Packages do not change while a notebook is open; asking for the time of hundreds of their files takes longer.
    if (file.includes('/node_modules/')) return '0';
    return String(ts.sys.getModifiedTime?.(file)?.getTime() ?? 0);
  }
}
