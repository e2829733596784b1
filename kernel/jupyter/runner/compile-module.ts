/** TypeScript modules beside the notebook become JavaScript; the compiler is loaded with the first of them. */
import { createRequire } from 'node:module';
import { excerpt } from '../excerpt.ts';

const require = createRequire(import.meta.url);

/** Compiles a module. Throws a SyntaxError that quotes the line. */
export function compileModule(
  path: string,
  source: string,
  format: 'module' | 'commonjs',
): { code: string; map: string } {
  const ts = require('typescript') as typeof import('typescript');
  const result = ts.transpileModule(source, {
    fileName: path,
    reportDiagnostics: true,
    compilerOptions: {
      target: ts.ScriptTarget.ES2023,
      module: format === 'module' ? ts.ModuleKind.ESNext : ts.ModuleKind.CommonJS,
      sourceMap: true,
      esModuleInterop: true,
    },
  });
  const problem = result.diagnostics?.find(({ category }) => category === ts.DiagnosticCategory.Error);
  if (problem) {
    const place = problem.file?.getLineAndCharacterOfPosition(problem.start ?? 0);
    const message = ts.flattenDiagnosticMessageText(problem.messageText, '\n');
    const lines = source.split('\n');
    const [line, column] = [(place?.line ?? 0) + 1, (place?.character ?? 0) + 1];
    throw new SyntaxError(`${message}\n${excerpt({ where: `File ${path}`, lines, line, column })}`);
  }
  const code = result.outputText.replace(/\/\/# sourceMappingURL=.*\s*$/, '');
  return { code, map: result.sourceMapText ?? '{}' };
}
