select V_3 "Quarter", SUM_4 "Total" from (select null::text V_3, sum(AMOUNT) SUM_4 from SHOP.SALES.ORDERS) Q1 limit 1000

-- Sigma Σ {"request-id":"5f0c1d6e-1f2a-4b7c-9d11-000000000001","email":"ana.lima@example.com"}