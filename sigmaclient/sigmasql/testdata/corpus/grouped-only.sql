select STATUS "Status", SUM_8 "Amount" from (select STATUS, sum(AMOUNT) SUM_8 from SHOP.SALES.ORDERS group by STATUS) Q1 order by STATUS asc limit 25001

-- Sigma Σ {"request-id":"5f0c1d6e-1f2a-4b7c-9d11-000000000001","email":"ana.lima@example.com"}