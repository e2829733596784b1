/**
 * Cells that need no compiler: JavaScript whose top level REPL mode can declare again as it is. That is most of what
 * people type to look at things (`run.plot()`, `a + b`), and it saves half of such a cell's round trip.
 */
import ts from 'typescript';

const { SyntaxKind } = ts;

/** What JavaScript consists of: everything else is TypeScript's, a module's, or has to be hoisted. */
const JAVASCRIPT: ReadonlySet<ts.SyntaxKind> = new Set([
  SyntaxKind.Identifier,
  SyntaxKind.PrivateIdentifier,
  SyntaxKind.NumericLiteral,
  SyntaxKind.BigIntLiteral,
  SyntaxKind.StringLiteral,
  SyntaxKind.RegularExpressionLiteral,
  SyntaxKind.NoSubstitutionTemplateLiteral,
  SyntaxKind.TemplateExpression,
  SyntaxKind.TemplateHead,
  SyntaxKind.TemplateSpan,
  SyntaxKind.TemplateMiddle,
  SyntaxKind.TemplateTail,
  SyntaxKind.TaggedTemplateExpression,
  SyntaxKind.NullKeyword,
  SyntaxKind.TrueKeyword,
  SyntaxKind.FalseKeyword,
  SyntaxKind.ThisKeyword,
  SyntaxKind.SuperKeyword,
  SyntaxKind.ArrayLiteralExpression,
  SyntaxKind.ObjectLiteralExpression,
  SyntaxKind.PropertyAssignment,
  SyntaxKind.ShorthandPropertyAssignment,
  SyntaxKind.SpreadAssignment,
  SyntaxKind.SpreadElement,
  SyntaxKind.ComputedPropertyName,
  SyntaxKind.PropertyAccessExpression,
  SyntaxKind.ElementAccessExpression,
  SyntaxKind.QuestionDotToken,
  SyntaxKind.CallExpression,
  SyntaxKind.NewExpression,
  SyntaxKind.ParenthesizedExpression,
  SyntaxKind.PrefixUnaryExpression,
  SyntaxKind.PostfixUnaryExpression,
  SyntaxKind.BinaryExpression,
  SyntaxKind.ConditionalExpression,
  SyntaxKind.ColonToken,
  SyntaxKind.InKeyword,
  SyntaxKind.InstanceOfKeyword,
  SyntaxKind.TypeOfExpression,
  SyntaxKind.VoidExpression,
  SyntaxKind.DeleteExpression,
  SyntaxKind.AwaitExpression,
  SyntaxKind.AwaitKeyword,
  SyntaxKind.YieldExpression,
  SyntaxKind.ArrowFunction,
  SyntaxKind.EqualsGreaterThanToken,
  SyntaxKind.FunctionExpression,
  SyntaxKind.AsteriskToken,
  SyntaxKind.AsyncKeyword,
  SyntaxKind.Parameter,
  SyntaxKind.DotDotDotToken,
  SyntaxKind.ObjectBindingPattern,
  SyntaxKind.ArrayBindingPattern,
  SyntaxKind.BindingElement,
  SyntaxKind.OmittedExpression,
  SyntaxKind.Block,
  SyntaxKind.EmptyStatement,
  SyntaxKind.ExpressionStatement,
  SyntaxKind.VariableStatement,
  SyntaxKind.VariableDeclarationList,
  SyntaxKind.VariableDeclaration,
  SyntaxKind.IfStatement,
  SyntaxKind.DoStatement,
  SyntaxKind.WhileStatement,
  SyntaxKind.ForStatement,
  SyntaxKind.ForInStatement,
  SyntaxKind.ForOfStatement,
  SyntaxKind.ContinueStatement,
  SyntaxKind.BreakStatement,
  SyntaxKind.ReturnStatement,
  SyntaxKind.ThrowStatement,
  SyntaxKind.TryStatement,
  SyntaxKind.CatchClause,
  SyntaxKind.SwitchStatement,
  SyntaxKind.CaseBlock,
  SyntaxKind.CaseClause,
  SyntaxKind.DefaultClause,
]);

/** The cell as it is parsed, when it can be run as it stands; undefined when the compiler has to see it. */
export function parsePlainJavaScript(source: string): ts.SourceFile | undefined {
  const file = ts.createSourceFile('cell.ts', source, ts.ScriptTarget.ESNext);
  const isPlain = file.statements.every((statement) => isReplStatement(statement) && isJavaScript(statement));
  return isPlain ? file : undefined;
}

/** `const` and `var` become `let` at the top level. */
function isReplStatement(statement: ts.Statement): boolean {
  if (!ts.isVariableStatement(statement)) return true;
  return (statement.declarationList.flags & ts.NodeFlags.BlockScoped) === (ts.NodeFlags.Let as number);
}

function isJavaScript(node: ts.Node): boolean {
  if ((node.flags & ts.NodeFlags.ThisNodeHasError) !== 0) return false;
  if (!JAVASCRIPT.has(node.kind) && !isOperator(node.kind)) return false;
  if (ts.isVariableDeclarationList(node) && !isLetOrConst(node)) return false;
  const mayHaveQuestion = ts.isConditionalExpression(node);
  // forEachChild ends with the first child for which it is given something true.
  return !ts.forEachChild(
    node,
    (child) => !isJavaScript(child) && !(mayHaveQuestion && child.kind === SyntaxKind.QuestionToken),
  );
}

function isLetOrConst({ flags }: ts.VariableDeclarationList): boolean {
  const kind: number = flags & ts.NodeFlags.BlockScoped;
  return kind === (ts.NodeFlags.Let as number) || kind === (ts.NodeFlags.Const as number);
}

/** The operators of binary expressions are nodes of their own; `a?` and `a!` look like such, and are TypeScript. */
function isOperator(kind: ts.SyntaxKind): boolean {
  const isInRange = kind >= SyntaxKind.FirstBinaryOperator && kind <= SyntaxKind.LastBinaryOperator;
  return isInRange && kind !== SyntaxKind.QuestionToken && kind !== SyntaxKind.ExclamationToken;
}
