import js from "@eslint/js";

/** Each parses a string as HTML: texts go through `textContent`, elements come from templates. */
const PARSERS_OF_HTML = [
  "innerHTML", "outerHTML", "insertAdjacentHTML", "setHTMLUnsafe", "parseHTMLUnsafe",
  "createContextualFragment", "parseFromString", "write", "writeln",
];

export default [
  js.configs.recommended,
  {
    files: ["src/sightbox/web/static/**/*.js"],
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      // tsc knows which names there are, and of what type.
      "no-undef": "off",
      "no-restricted-properties": ["error", ...PARSERS_OF_HTML.map((property) => ({ property }))],
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-new-func": "error",
      "no-script-url": "error",
      "array-callback-return": "error",
      "complexity": ["error", 12],
      "consistent-return": "error",
      "default-case-last": "error",
      "eqeqeq": "error",
      "max-depth": ["error", 4],
      "max-lines": ["error", 400],
      "max-lines-per-function": ["error", 60],
      "max-params": ["error", 5],
      "no-alert": "error",
      "no-console": "error",
      "no-else-return": "error",
      "no-implicit-coercion": "error",
      "no-shadow": "error",
      "no-throw-literal": "error",
      "no-unused-expressions": "error",
      "no-useless-rename": "error",
      "no-useless-return": "error",
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-arrow-callback": "error",
      "prefer-const": "error",
      "prefer-object-spread": "error",
    },
  },
];
