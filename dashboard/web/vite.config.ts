import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

// `base: "./"`: the page works wherever the API mounts it. Everything it needs stands beside it: no address elsewhere.
export default defineConfig({
  base: "./",
  plugins: [react()],
  build: {
    target: "es2022",
    sourcemap: false,
    assetsInlineLimit: 0,
    // Flow graphs are drawn in two of the views only: a chunk of their own, loaded with the first of them.
    rollupOptions: { output: { manualChunks: { flow: ["@xyflow/react"] } } },
  },
  // A test that winds a long tape takes a second, and ten on a machine that is busy.
  test: { testTimeout: 60_000 },
  server: { proxy: { "/api": "http://127.0.0.1:17499" } },
});
