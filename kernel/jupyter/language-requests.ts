/**
 * Requests about code, answered by the language process. `signatures_request` and `diagnostics_request` are our own; all
 * take the notebook's cells before the one that is asked about in their metadata, since they may not have been run yet, and
 * whether the client can add an import for what it completes.
 */
import { z } from 'zod';
import { toCodePoints, toUtf16 } from './code-points.ts';
import type { LanguageService } from './language-service.ts';
import type { CellPosition, CompletionPosition, Match } from './language/messages.ts';
import type { Content } from './sockets.ts';
import type { ReceivedMessage } from './wire.ts';

const positionContent = z.object({ code: z.string(), cursor_pos: z.int().nonnegative() });
const cellsContent = z.object({ cells: z.array(z.string()) });
const ownMetadata = z.object({
  'gpt-lab': z.object({ earlierCells: z.array(z.string()), imports: z.boolean().default(false) }).optional(),
});

type Answer = (request: ReceivedMessage) => Promise<Content>;

/** A chain of names, a dot, and the beginning of another. */
const MEMBER = /([\p{ID_Start}$_][\p{ID_Continue}$]*(?:\.[\p{ID_Continue}$]+)*)\.([\p{ID_Continue}$]*)$/u;

/** The answers, by type of the request. `members` knows the members of a value as it is now. */
export function languageAnswers(
  service: LanguageService,
  members: (expression: string) => Promise<readonly string[]>,
): Record<string, Answer> {
  /** Where types say nothing, the value may. */
  const fromValues = async ({ code, cursor }: CellPosition): Promise<Match[]> => {
    const [, expression, word = ''] = MEMBER.exec(code.slice(0, cursor)) ?? [];
    if (expression === undefined) return [];
    const names = (await members(expression)).filter((name) => name.startsWith(word));
    return names.map((text) => ({ text, type: 'property' }));
  };
  return {
    complete_request: async (request) => {
      const position = positionOf(request);
      const { code, cursor } = position;
      const found = await service.ask('complete', position);
      const { start } = found;
      const matches = found.matches.length > 0 ? found.matches : await fromValues(position);
      const [from, to] = [toCodePoints(code, start), toCodePoints(code, cursor)];
      return {
        status: 'ok',
        matches: matches.map(({ text }) => text),
        cursor_start: from,
        cursor_end: to,
        metadata: {
          _jupyter_types_experimental: matches.map((match) => ({ ...match, start: from, end: to })),
        },
      };
    },
    inspect_request: async (request) => {
      const found = await service.ask('inspect', positionOf(request));
      if (!found) return { status: 'ok', found: false, data: {}, metadata: {} };
      const { signature, documentation } = found;
      const parts = (code: string): string =>
        [code, documentation].filter((part) => part !== '').join('\n\n');
      const data = {
        'text/plain': parts(signature),
        'text/markdown': parts(`\`\`\`typescript\n${signature}\n\`\`\``),
      };
      return { status: 'ok', found: true, data, metadata: {} };
    },
    signatures_request: async (request) => {
      const help = await service.ask('signatures', positionOf(request));
      return { status: 'ok', help };
    },
    diagnostics_request: async ({ content }) => {
      const { cells } = cellsContent.parse(content);
      return { status: 'ok', cells: await service.ask('diagnose', { cells }) };
    },
  };
}

function positionOf({ content, metadata }: ReceivedMessage): CompletionPosition {
  const { code, cursor_pos } = positionContent.parse(content);
  const { earlierCells: earlier = [], imports = false } = ownMetadata.parse(metadata)['gpt-lab'] ?? {};
  return { code, cursor: toUtf16(code, cursor_pos), earlier, imports };
}
