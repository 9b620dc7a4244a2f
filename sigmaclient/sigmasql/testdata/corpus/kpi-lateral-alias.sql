select SUM_47 "Revenue", SUM_48 "Revenue Again" from (select sum(AMOUNT) SUM_47, SUM_47 SUM_48 from SHOP.SALES.ORDERS ORDERS) Q1

-- Sigma Σ {"request-id":"5f0c1d6e-1f2a-4b7c-9d11-000000000001","email":"ana.lima@example.com"}