select ORDER_ID "Order Id", ROWNUMBER_4 "Row Number", SUM_5 "Running" from (select ORDER_ID, row_number() over (partition by STATUS order by ORDER_ID) ROWNUMBER_4, sum(AMOUNT) over (order by ORDER_ID rows between unbounded preceding and current row) SUM_5 from SHOP.SALES.ORDERS ORDERS) Q1 limit 1000

-- Sigma Σ {"request-id":"5f0c1d6e-1f2a-4b7c-9d11-000000000001","email":"ana.lima@example.com"}