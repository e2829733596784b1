/** Diagnostics: what TypeScript finds wrong in cells. */
import ts from 'typescript';
import type { Diagnostic } from './messages.ts';
import type { AskedCell } from './notebook-scope.ts';

/** What modules may not do and cells may: `import a = require('m')`, and new values for names of other cells. */
const ALLOWED = new Set([1202, 2632]);

/** Errors of meaning; none in a cell that cannot be parsed, where they would only follow from that. */
export function diagnose({
  service,
  file,
  source,
  offset,
}: Pick<AskedCell, 'service' | 'file' | 'source' | 'offset'>): Diagnostic[] {
  if (service.getSyntacticDiagnostics(file).length > 0) return [];
  return service.getSemanticDiagnostics(file).flatMap((diagnostic) => {
    const start = (diagnostic.start ?? 0) - offset;
    // What we have written around the cell is not the user's.
    if (start < 0 || start > source.length || ALLOWED.has(diagnostic.code)) return [];
    return [
      {
        start,
        end: Math.min(start + (diagnostic.length ?? 0), source.length),
        message: ts.flattenDiagnosticMessageText(diagnostic.messageText, '\n'),
        code: diagnostic.code,
        severity: diagnostic.category === ts.DiagnosticCategory.Error ? 'error' : 'warning',
      },
    ];
  });
}
