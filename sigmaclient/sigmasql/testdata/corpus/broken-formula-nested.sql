select IF_5 "Share", V_11 "Quarter" from (select distinct iff(AMOUNT > 1, 'Circular column reference to [Share]', null) IF_5, 'Circular column reference to [Quarter]' V_11 from SHOP.SALES.ORDERS ORDERS where STATUS <> 'Unknown column "[X]"') Q1 limit 1000

-- Sigma Σ {"request-id":"5f0c1d6e-1f2a-4b7c-9d11-000000000001","email":"ana.lima@example.com"}